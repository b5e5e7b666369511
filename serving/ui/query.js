// The query's images: three slots that are filled by dropping, pasting or choosing, swapped and cleared.

import { byId, counted, el, show } from "./dom.js";
import { LIGHT, MODALITIES, SHORT, assigned } from "./modalities.js";
import { drawSelected } from "./overlay.js";

const TYPES = "image/jpeg,image/png,image/webp,image/bmp,image/tiff";
const WIDE = 1.25;

/** The slots. `onChange` is called whenever an image comes, goes or changes its slot. */
export class Query {
  constructor(onChange) {
    this.onChange = onChange;
    this.files = {};
    this.urls = {};
    this.answer = null;
    byId("clear").addEventListener("click", () => this.clear());
    byId("patches-shown").addEventListener("change", () => this.overlay());
    listen(this);
    this.draw();
  }

  /** The modalities that have an image, in their order. */
  get present() {
    return MODALITIES.filter((modality) => this.files[modality]);
  }

  /** Take new files: several are a new query; one goes into `slot`, or where `place` puts it. */
  take(files, slot = null) {
    if (files.length === 1) return this.put(slot ? { [slot]: files[0] } : this.place(files[0]));
    this.files = {};
    const { places, over } = assigned(files);
    this.put(places);
    if (over.length) this.complain(`Three images at most: ${counted(over.length, "file")} left out.`);
    return undefined;
  }

  /** Choose the slot of a file: by its name, else a free one; without a free one, a new query starts. */
  place(file) {
    const { places } = assigned([file], this.present);
    if (Object.keys(places).length) return places;
    this.files = {};
    return { rgb: file };
  }

  put(places) {
    Object.assign(this.files, places);
    this.changed();
  }

  swap(one, other) {
    [this.files[one], this.files[other]] = [this.files[other], this.files[one]];
    this.changed();
    byId(`swap-${other}`)?.focus();
  }

  drop(modality) {
    delete this.files[modality];
    this.changed();
    byId(`pick-${modality}`).focus();
  }

  clear() {
    this.files = {};
    this.changed();
    byId("pick-rgb").focus();
  }

  /** Draw the patches that a search selected, until the images change. */
  keep(answer) {
    this.answer = answer.grid ? answer : null;
    this.overlay();
  }

  overlay() {
    const shown = Boolean(this.answer) && byId("patches-shown").checked;
    show(Boolean(this.answer), byId("patches"));
    for (const modality of this.present) {
      const canvas = byId(`overlay-${modality}`);
      show(shown && Boolean(this.answer.selected_patches[modality]), canvas);
      if (shown && this.answer.selected_patches[modality]) drawSelected(canvas, this.answer.grid, this.answer.selected_patches[modality]);
    }
    if (!this.answer) return;
    const [rows, columns] = this.answer.grid;
    const numbers = [...new Set(Object.values(this.answer.selected_patches).map((patches) => patches.length))];
    byId("patches-count").textContent = `selected, ${numbers.join(" or ")} of ${rows * columns}`;
  }

  complain(line) {
    byId("error-images").textContent = line;
    show(true, byId("error-images"));
  }

  changed() {
    const focused = byId("slots").contains(document.activeElement) ? document.activeElement.id : null;
    this.answer = null;
    show(false, byId("error-images"));
    this.draw();
    if (focused) byId(focused)?.focus();
    this.onChange();
  }

  draw() {
    for (const url of Object.values(this.urls)) URL.revokeObjectURL(url);
    this.urls = {};
    byId("slots").removeAttribute("data-wide");
    byId("slots").replaceChildren(...MODALITIES.map((modality) => this.slot(modality)));
    show(this.present.length > 0, byId("clear"));
    this.overlay();
  }

  slot(modality) {
    const file = this.files[modality];
    const name = modality.toUpperCase();
    const input = el("input", {
      id: `pick-${modality}`,
      type: "file",
      class: "visually-hidden",
      accept: TYPES,
      multiple: true,
      "aria-label": `${name} image, ${LIGHT[modality]}: ${file ? `${file.name}; choose another` : "choose a file"}`,
      "aria-describedby": `error-${modality}`,
      on: { change: (event) => event.target.files.length && this.take([...event.target.files], modality) },
    });
    const inside = file ? this.image(modality, file) : el("span", { class: "slot-hint", text: "Drop, paste or choose" });
    return el(
      "div",
      { class: "slot", data: { modality, ...(file && { filled: "" }) } },
      el(
        "p",
        { class: "slot-head" },
        el("span", { class: "dot", data: { modality } }),
        el("b", { text: name }),
        el("span", { class: "muted", text: SHORT[modality] }),
      ),
      el("label", { class: "slot-drop" }, input, inside),
      file ? this.foot(modality, file) : null,
      el("p", { class: "error", id: `error-${modality}`, hidden: true }),
    );
  }

  image(modality, file) {
    this.urls[modality] = URL.createObjectURL(file);
    const image = el("img", { src: this.urls[modality], alt: `The query in ${LIGHT[modality]} light` });
    const frame = el(
      "span",
      { class: "frame" },
      image,
      el("canvas", { id: `overlay-${modality}`, "aria-hidden": "true", hidden: true }),
    );
    image.addEventListener("load", () => {
      if (image.naturalWidth > WIDE * image.naturalHeight) byId("slots").dataset.wide = "";
    });
    image.addEventListener("error", () =>
      frame.replaceChildren(el("span", { class: "slot-hint", text: "No preview; it is sent as it is" })),
    );
    return frame;
  }

  foot(modality, file) {
    const other = MODALITIES[(MODALITIES.indexOf(modality) + 1) % MODALITIES.length];
    const [name, next] = [modality.toUpperCase(), other.toUpperCase()];
    return el(
      "div",
      { class: "slot-foot" },
      el("span", { class: "slot-file", title: file.name, text: file.name }),
      el("button", {
        type: "button",
        class: "quiet small",
        id: `swap-${modality}`,
        "aria-label": `Swap ${name} and ${next}`,
        title: `Swap ${name} and ${next}`,
        text: `⇄ ${next}`,
        on: { click: () => this.swap(modality, other) },
      }),
      el("button", {
        type: "button",
        class: "quiet small icon",
        id: `clear-${modality}`,
        "aria-label": `Clear ${name}`,
        title: `Clear ${name}`,
        text: "×",
        on: { click: () => this.drop(modality) },
      }),
    );
  }
}

/** Dropping and pasting, anywhere on the page. */
function listen(query) {
  const slotOf = (event) => event.target.closest?.(".slot")?.dataset.modality ?? null;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (ready()) query.take([...event.dataTransfer.files], slotOf(event));
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || !ready()) return;
    event.preventDefault();
    const slot = slotOf(event);
    query.take(files, slot && !query.files[slot] ? slot : null);
  });
}

/** Whether images are asked for now: on the search, with no dialog before it. */
const ready = () => !byId("search").hidden && !document.querySelector("dialog[open]");
