// Rows of "name = value": attributes to filter by, attributes to enroll.

import { el } from "./dom.js";

/** A list of rows inside a fieldset; `onChange` is called whenever one is edited. */
export class Pairs {
  constructor(fieldset, prefix, onChange = () => {}) {
    this.rows = el("div", { class: "pairs" });
    this.prefix = prefix;
    this.onChange = onChange;
    this.made = 0;
    this.more = el("button", {
      type: "button",
      class: "quiet",
      text: "Add an attribute",
      on: { click: () => this.add().focus() },
    });
    fieldset.append(this.rows, this.more);
    fieldset.addEventListener("input", onChange);
  }

  /** Add an empty row; its first input. */
  add() {
    this.made += 1;
    const name = el("input", {
      "aria-label": `${this.prefix} attribute ${this.made}: name`,
      placeholder: "name",
      autocomplete: "off",
      class: "pair-name",
    });
    const value = el("input", {
      "aria-label": `${this.prefix} attribute ${this.made}: value`,
      placeholder: "value",
      autocomplete: "off",
      class: "pair-value",
    });
    const away = el("button", {
      type: "button",
      class: "quiet icon",
      "aria-label": `Take away attribute ${this.made}`,
      text: "×",
    });
    const row = el("div", { class: "pair" }, name, el("span", { "aria-hidden": "true", text: "=" }), value, away);
    away.addEventListener("click", () => {
      row.remove();
      this.more.focus();
      this.onChange();
    });
    this.rows.append(row);
    return name;
  }

  /** The rows that have a name: [name, text]. */
  entries() {
    return [...this.rows.children]
      .map((row) => [row.querySelector(".pair-name").value.trim(), row.querySelector(".pair-value").value.trim()])
      .filter(([name]) => name);
  }

  clear() {
    this.rows.replaceChildren();
  }
}

/** Parse a text: true, false, a number, else itself; in quotes always text. */
export function valueOf(text) {
  if (/^".*"$/.test(text)) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
