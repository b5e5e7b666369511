// The filters: from the form's controls to the `where` of a search.

import { byId } from "./dom.js";
import { Pairs, valueOf } from "./pairs.js";

const FAR = 1000;

/** A error of what was typed, at the control `field`. */
export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The part of the form that narrows a search. */
export class Filters {
  constructor() {
    this.attributes = new Pairs(byId("where-attributes"), "Filter", () => this.count());
    byId("filters").addEventListener("input", () => this.count());
  }

  /** Read the filters as `/search` takes them in `where`, or null. Raises FieldError. */
  where() {
    const where = {};
    for (const [name, text] of this.attributes.entries()) where[name] = eitherWay(text);
    if (byId("where-kind").value) where.kind = byId("where-kind").value;
    if (byId("where-identity").value.trim()) where.identity = byId("where-identity").value.trim();
    const cameras = camerasOf(byId("where-cameras").value);
    if (cameras.length) where.camera = cameras;
    const [from, before] = [byId("where-from").value, byId("where-before").value];
    if (from || before) where.time = { ...(from && { gte: `${from}Z` }), ...(before && { lt: `${before}Z` }) };
    return Object.keys(where).length ? where : null;
  }

  /** Show how many filters are set. */
  count() {
    let number;
    try {
      number = Object.keys(this.where() ?? {}).length;
    } catch {
      number = 0;
    }
    number += (byId("min-score").value !== "") + byId("rerank").checked;
    byId("filters-count").textContent = number ? `${number} set` : "";
  }
}

/** An attribute may have been stored as text or as a number: "7" finds both. */
function eitherWay(text) {
  const value = valueOf(text);
  return typeof value === "string" ? value : [value, text];
}

/** "1, 3-5" -> [1, 3, 4, 5]. Raises FieldError. */
export function camerasOf(text) {
  return text
    .split(/[,;\s]+/)
    .filter(Boolean)
    .flatMap((part) => {
      const found = /^(-?\d+)(?:-(\d+))?$/.exec(part);
      if (!found) throw new FieldError("where-cameras", `Cameras: numbers such as 1, 3-5, not ${part}`);
      const [first, last] = [Number(found[1]), Number(found[2] ?? found[1])];
      if (last < first || last - first >= FAR)
        throw new FieldError("where-cameras", `Cameras: ${part} is not a range of up to ${FAR}`);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
}
