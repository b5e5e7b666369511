// Removing an item, or all of an identity: a dialog that says what exactly will go, before it goes.

import { ask } from "./api.js";
import { byId, counted, el, show } from "./dom.js";
import { clearErrors, formatError } from "./errors.js";
import { shownTime } from "./results.js";

const MOST = 1000;
const LISTED = 12;

/** The dialog. `done(removed, gone)`: how many went, and whether a hit is among them. */
export class Remove {
  constructor(done) {
    this.done = done;
    byId("remove-cancel").addEventListener("click", () => byId("remove").close());
    byId("remove").addEventListener("close", () => this.stop?.abort());
    byId("remove-scope").addEventListener("change", () => this.describe());
    byId("remove-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** Open it for a hit of a gallery; `thumbs`: where its images come from. */
  open(gallery, hit, thumbs) {
    Object.assign(this, { gallery, hit, thumbs });
    clearErrors(byId("remove"));
    byId("remove-form").reset();
    byId("remove-images").replaceChildren(thumbs.strip(hit));
    show(hit.identity !== null, byId("remove-scope"));
    byId("remove-identity-label").textContent = `Everything of identity ${hit.identity}`;
    byId("remove").showModal();
    this.describe();
  }

  get whole() {
    return byId("remove-identity").checked;
  }

  /** Show what will go. The items of an identity are asked of the server, with the hit's own images. */
  async describe() {
    this.stop?.abort();
    this.stop = new AbortController();
    byId("error-remove").hidden = true;
    if (!this.whole) {
      this.tell(
        [this.hit],
        `Item ${this.hit.id}${from(this.hit)} will be removed from ${this.gallery}, with ${counted(Object.keys(this.hit.images).length, "image")}. This cannot be undone.`,
        "Remove 1 item",
      );
      return;
    }
    this.tell([], "Counting…", "Remove", true);
    try {
      this.all(await this.ofIdentity(this.stop.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      byId("error-remove").textContent = formatError(error);
      show(true, byId("error-remove"));
    }
  }

  async ofIdentity(signal) {
    const form = {
      ...(await this.thumbs.files(this.hit)),
      gallery: this.gallery,
      k: MOST,
      where: JSON.stringify({ identity: this.hit.identity }),
    };
    return (await ask("search", { form, signal })).hits;
  }

  all(hits) {
    const number = hits.length === MOST ? `${MOST} or more items` : counted(hits.length, "item");
    const images = hits.reduce((sum, hit) => sum + Object.keys(hit.images).length, 0);
    this.tell(
      hits,
      `Everything of identity ${this.hit.identity} will be removed from ${this.gallery}: ${number}, with ${counted(images, "image")}. This cannot be undone.`,
      `Remove ${number}`,
    );
  }

  tell(hits, line, button, waits = false) {
    const listed = [...hits]
      .sort((a, b) => a.id.localeCompare(b.id))
      .slice(0, LISTED)
      .map((hit) => el("li", {}, el("code", { text: hit.id }), from({ ...hit, identity: null })));
    const rest = hits.length > LISTED ? [el("li", { text: `and ${hits.length - LISTED} more` })] : [];
    byId("remove-what").replaceChildren(el("p", { text: line }), hits.length > 1 ? el("ul", {}, ...listed, ...rest) : "");
    byId("remove-go").textContent = button;
    byId("remove-go").disabled = waits;
  }

  async send() {
    const [{ gallery, hit }, whole] = [this, this.whole];
    byId("remove-go").disabled = true;
    try {
      const { removed } = await ask("remove", {
        json: { gallery, ...(whole ? { identity: hit.identity } : { ids: [hit.id] }) },
      });
      byId("remove").close();
      this.done(removed, (other) => (whole ? other.identity === hit.identity : other.id === hit.id));
    } catch (error) {
      byId("error-remove").textContent = formatError(error);
      show(true, byId("error-remove"));
    } finally {
      byId("remove-go").disabled = false;
    }
  }
}

function from(hit) {
  const parts = [
    hit.identity === null ? "" : `identity ${hit.identity}`,
    hit.camera === null ? "" : `camera ${hit.camera}`,
    hit.time === null ? "" : shownTime(hit.time),
  ];
  const said = parts.filter(Boolean).join(", ");
  return said ? ` (${said})` : "";
}
