// The hits of a search: cards, best first; those of one identity folded under the best, where that is asked for.

import { byId, counted, el, show } from "./dom.js";
import { Thumbs } from "./thumbs.js";

/** The list of hits. `acts`: `query(hit)`, `remove(hit)`, `compare(hit)`; `mayRemove()`. */
export class Results {
  constructor(acts) {
    this.acts = acts;
    this.thumbs = new Thumbs();
    this.answer = null;
    byId("grouped").addEventListener("change", () => this.draw());
  }

  /** Show an answer of `/search`. */
  take(answer) {
    this.forget();
    this.answer = answer;
    const [height, width] = answer.image_size ?? [2, 1];
    byId("cards").style.setProperty("--shape", `${width} / ${height}`);
    byId("cards").toggleAttribute("data-wide", width > height);
    this.draw();
  }

  /** Show nothing, and let the images go. */
  forget() {
    this.thumbs.close();
    this.thumbs = new Thumbs();
    this.answer = null;
    byId("cards").replaceChildren();
    byId("results-about").textContent = "";
    show(false, byId("grouped-label"), byId("note"));
  }

  /** Leave out what was removed. */
  without(gone) {
    if (!this.answer) return;
    this.answer = { ...this.answer, hits: this.answer.hits.filter((hit) => !gone(hit)) };
    this.draw();
  }

  draw() {
    if (!this.answer) return;
    const { hits } = this.answer;
    byId("results-about").textContent = aboutOf(this.answer);
    show(hits.length > 1, byId("grouped-label"));
    const groups = byId("grouped").checked ? groupsOf(hits) : hits.map((hit) => [hit]);
    byId("cards").replaceChildren(...groups.flatMap((group) => this.group(group)));
  }

  group([best, ...others]) {
    const folded = others.map((hit) => this.card(hit, { class: "card folded", hidden: true }));
    if (!others.length) return [this.card(best)];
    const more = el("button", {
      type: "button",
      class: "more",
      "aria-expanded": "false",
      text: `${others.length} more of ${best.identity}`,
    });
    more.addEventListener("click", () => {
      const open = more.getAttribute("aria-expanded") !== "true";
      more.setAttribute("aria-expanded", String(open));
      show(open, ...folded);
    });
    return [this.card(best, {}, more), ...folded];
  }

  card(hit, properties = {}, more = null) {
    const title = el("h3", {
      id: `hit-${hit.rank}`,
      title: hit.identity,
      text: hit.identity ?? "identity not known",
      class: hit.identity === null ? "unknown" : null,
    });
    const view = el(
      "button",
      {
        type: "button",
        class: "view",
        "aria-label": `Compare hit ${hit.rank} with the query`,
        on: { click: () => this.acts.compare(hit) },
      },
      this.thumbs.strip(hit),
    );
    return el(
      "li",
      { class: "card", ...properties, data: { id: hit.id }, "aria-labelledby": `hit-${hit.rank}` },
      el(
        "div",
        { class: "card-head" },
        el("span", { class: "rank", "aria-label": `Rank ${hit.rank}`, text: hit.rank }),
        title,
        el("code", { title: hit.id, text: hit.id }),
      ),
      view,
      el(
        "div",
        { class: "card-body" },
        meters(hit),
        facts(hit),
        more,
        el(
          "div",
          { class: "card-acts" },
          el("button", {
            type: "button",
            class: "quiet small",
            "aria-label": `Search with hit ${hit.rank}`,
            text: "Search with this",
            on: { click: () => this.acts.query(hit) },
          }),
          this.acts.mayRemove()
            ? el("button", {
                type: "button",
                class: "quiet small remove",
                "aria-label": `Remove hit ${hit.rank}, ${hit.id}`,
                text: "Remove…",
                on: { click: () => this.acts.remove(hit) },
              })
            : null,
        ),
      ),
    );
  }
}

/** Score and probability, each with its bar from 0 to 1. */
export function meters(hit) {
  return el(
    "div",
    { class: "meters" },
    ...meter("score", hit.score, hit.score.toFixed(4)),
    ...(hit.probability === null ? [] : meter("probability", hit.probability, `${percent(hit.probability)} %`)),
  );
}

function meter(name, value, text) {
  const bar = el("span", { class: "bar", "aria-hidden": "true", data: { meter: name } }, el("i"));
  bar.firstChild.style.setProperty("--share", Math.max(0, Math.min(1, value)));
  return [el("span", { class: "muted", text: name }), bar, el("span", { class: "value", text })];
}

/** Never 0 or 100 for what is neither. */
function percent(share) {
  const shown = 100 * share;
  if (shown > 99 && shown < 100) return Math.min(99.9, Math.floor(10 * shown) / 10).toString();
  return shown < 1 && shown > 0 ? "<1" : shown.toFixed(0);
}

/** Camera, time, kind and attributes. */
export function facts(hit) {
  const known = [
    ["camera", hit.camera === null ? "not known" : String(hit.camera)],
    ["time", hit.time === null ? "not known" : shownTime(hit.time)],
    ...(hit.kind === null ? [] : [["kind", hit.kind]]),
    ...Object.entries(hit.attributes).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  ];
  return el(
    "dl",
    { class: "facts" },
    ...known.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value, title: value }))),
  );
}

/** ISO 8601, as people read it. */
export const shownTime = (time) => time.replace(/^(\d{4}-\d\d-\d\d)T/, "$1 ").replace(/(?:Z|\+00:00)$/, " UTC");

/** Hits by identity, in the order of the best; one without an identity stands alone. */
export function groupsOf(hits) {
  const groups = new Map();
  for (const hit of hits) {
    const key = hit.identity === null ? `item ${hit.id}` : `identity ${hit.identity}`;
    groups.set(key, [...(groups.get(key) ?? []), hit]);
  }
  return [...groups.values()];
}

function aboutOf({ hits, gallery, timings }) {
  const spent = Object.entries(timings ?? {}).map(([name, ms]) => `${name} ${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)}`);
  return `${counted(hits.length, "hit")} in ${gallery}${spent.length ? ` · ${spent.join(" · ")} ms` : ""}`;
}
