// An item's images: fetched when they come into view, with the caller's token, and let go with the list they belong to.

import { image } from "./api.js";
import { el } from "./dom.js";
import { LIGHT, MODALITIES } from "./modalities.js";

/** The images of one list of hits. */
export class Thumbs {
  constructor() {
    this.blobs = new Map();
    this.urls = [];
    this.stop = new AbortController();
    this.seen = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
          this.seen.unobserve(entry.target);
          this.fill(entry.target);
        }
      },
      { rootMargin: "300px" },
    );
  }

  /** Forget every image. */
  close() {
    this.stop.abort();
    this.seen.disconnect();
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.blobs.clear();
  }

  /** One image as a Blob, fetched once. */
  blob(path) {
    if (!this.blobs.has(path)) {
      const coming = image(path, this.stop.signal);
      this.blobs.set(path, coming);
      coming.catch(() => this.blobs.delete(path));
    }
    return this.blobs.get(path);
  }

  /** The three places of an item, side by side; a modality that it lacks stays empty. */
  strip(hit) {
    return el("span", { class: "thumbs" }, ...MODALITIES.map((modality) => this.place(hit, modality)));
  }

  place(hit, modality) {
    const path = hit.images[modality];
    const tag = el("span", { class: "tag" }, el("span", { class: "dot", data: { modality } }), modality.toUpperCase());
    if (!path) return el("span", { class: "thumb", data: { absent: "" } }, tag, el("span", { class: "none", text: "none" }));
    const image = el("img", { alt: `${hit.identity ?? hit.id} in ${LIGHT[modality]} light`, data: { path } });
    this.seen.observe(image);
    return el("span", { class: "thumb" }, image, tag);
  }

  async fill(image) {
    try {
      const url = URL.createObjectURL(await this.blob(image.dataset.path));
      this.urls.push(url);
      image.src = url;
    } catch (error) {
      if (error.name !== "AbortError")
        image.replaceWith(el("span", { class: "none", text: error.status === 404 ? "gone" : "not loaded" }));
    }
  }

  /** An item's images as files, to be sent as a query: {modality: File}. */
  async files(hit) {
    const found = Object.entries(hit.images).map(async ([modality, path]) => {
      const blob = await this.blob(path);
      return [modality, new File([blob], `${hit.id}_${modality}.jpg`, { type: blob.type })];
    });
    return Object.fromEntries(await Promise.all(found));
  }
}
