// The three kinds of light, and which of them a file's name speaks of.

export const MODALITIES = ["rgb", "nir", "tir"];
export const LIGHT = { rgb: "visible", nir: "near infrared", tir: "thermal" };
/** The same, for narrow columns. */
export const SHORT = { rgb: "visible", nir: "near IR", tir: "thermal" };

const HINTS = {
  rgb: ["rgb", "vis", "visible", "color", "colour"],
  nir: ["nir", "ni"],
  tir: ["tir", "ti", "thermal", "lwir"],
};

/** The modality that a path speaks of, its last words first: `RGB/0001.jpg`, `a_nir.png`, `NI-3.jpg`; null where none. */
export function hinted(path) {
  const words = path
    .toLowerCase()
    .split(/[^a-z]+/)
    .reverse();
  for (const word of words) {
    const found = MODALITIES.find((modality) => HINTS[modality].includes(word));
    if (found) return found;
  }
  return null;
}

/** Files to modalities: by the hints in their names, the rest in order into what is free of `taken`. At most three. */
export function assigned(files, taken = []) {
  const places = {};
  const left = [];
  for (const file of files) {
    const modality = hinted(file.webkitRelativePath || file.name);
    if (modality && !places[modality]) places[modality] = file;
    else left.push(file);
  }
  const free = MODALITIES.filter((modality) => !places[modality] && !taken.includes(modality));
  left.slice(0, free.length).forEach((file, index) => {
    places[free[index]] = file;
  });
  return { places, over: left.slice(free.length) };
}
