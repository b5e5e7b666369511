// Enrolling the query's images: a dialog with what is known of them.

import { ask } from "./api.js";
import { byId, el, show } from "./dom.js";
import { clearErrors, showError } from "./errors.js";
import { Pairs, valueOf } from "./pairs.js";

const FIELDS = ["id", "identity", "camera", "time", "kind"];

/** The dialog. `done(gallery, id)` is called when the server has the item on its disk. */
export class Enroll {
  constructor(query, done) {
    this.query = query;
    this.done = done;
    this.attributes = new Pairs(byId("enroll-attributes"), "Enrolled");
    byId("enroll-cancel").addEventListener("click", () => byId("enroll").close());
    byId("enroll-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** Open it. `gallery`: its name, null where the caller has to say it; `kind`: what its network is for. */
  open(gallery, kind) {
    this.gallery = gallery;
    clearErrors(byId("enroll"));
    this.attributes.clear();
    byId("enroll-form").reset();
    byId("enroll-title").textContent = gallery ? `Enroll into ${gallery}` : "Enroll";
    show(!gallery, byId("enroll-gallery-field"));
    byId("enroll-camera").value = byId("camera").value;
    byId("enroll-kind").value = kind ?? "";
    const shown = this.query.present.map((modality) =>
      el("img", { src: this.query.urls[modality], alt: modality.toUpperCase() }),
    );
    byId("enroll-images").replaceChildren(...shown);
    byId("enroll").showModal();
    byId(gallery ? "enroll-identity" : "enroll-gallery").focus();
  }

  async send() {
    clearErrors(byId("enroll"));
    const form = { ...this.query.files, gallery: this.gallery ?? byId("enroll-gallery").value.trim() };
    for (const field of FIELDS) form[field] = byId(`enroll-${field}`).value.trim();
    if (form.time) form.time += "Z";
    const pairs = this.attributes.entries();
    if (pairs.length) form.attributes = JSON.stringify(Object.fromEntries(pairs.map(([name, text]) => [name, valueOf(text)])));
    byId("enroll-go").disabled = true;
    try {
      const { id } = await ask("enroll", { form });
      byId("enroll").close();
      this.done(form.gallery, id);
    } catch (error) {
      this.showError(error);
    } finally {
      byId("enroll-go").disabled = false;
    }
  }

  /** An image's error belongs to its slot, behind the dialog; any other to a field of the dialog. */
  showError(error) {
    if (["rgb", "nir", "tir"].includes(error.field)) {
      byId("enroll").close();
      showError(error, byId("trouble"), "", (field) => `pick-${field}`);
    } else showError(error, byId("error-enroll"), "enroll-");
  }
}
