// The query and one hit, side by side and large.

import { byId, el } from "./dom.js";
import { LIGHT, MODALITIES } from "./modalities.js";
import { facts, meters } from "./results.js";

/** Open the dialog. `urls`: the query's images by modality; `thumbs`: where the hit's come from. */
export async function compare(hit, urls, thumbs) {
  const rows = MODALITIES.filter((modality) => urls[modality] || hit.images[modality]);
  const theirs = {};
  const body = el(
    "div",
    { class: "pairs-of-images" },
    el("span"),
    el("b", { text: "Query" }),
    el("b", { text: hit.identity ?? hit.id }),
    ...rows.flatMap((modality) => {
      theirs[modality] = el("img", { alt: `Hit ${hit.rank} in ${LIGHT[modality]} light`, hidden: true });
      return [
        el("span", { class: "tag" }, el("span", { class: "dot", data: { modality } }), modality.toUpperCase()),
        urls[modality]
          ? el("img", { src: urls[modality], alt: `The query in ${LIGHT[modality]} light` })
          : el("span", { class: "none", text: "none" }),
        hit.images[modality] ? theirs[modality] : el("span", { class: "none", text: "none" }),
      ];
    }),
  );
  byId("compare-title").textContent = `Hit ${hit.rank}: ${hit.identity ?? "identity not known"}`;
  byId("compare-body").replaceChildren(
    body,
    el("div", { class: "card-body" }, el("code", { text: hit.id }), meters(hit), facts(hit)),
  );
  byId("compare").showModal();
  await Promise.all(Object.entries(hit.images).map(([modality, path]) => fill(theirs[modality], thumbs, path)));
}

async function fill(image, thumbs, path) {
  const url = URL.createObjectURL(await thumbs.blob(path));
  image.addEventListener("load", () => URL.revokeObjectURL(url));
  image.src = url;
  image.hidden = false;
}

byId("compare-close").addEventListener("click", () => byId("compare").close());
