// One gallery in numbers: what it holds, from which cameras, of which days, in which light.

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { formatError } from "./errors.js";

const DAYS_APART = 92;
const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400_000;

/** Fetch and show a gallery. */
export async function overview(name) {
  const body = byId("overview-body");
  body.setAttribute("aria-busy", "true");
  try {
    const detail = await ask(`galleries/${encodeURIComponent(name)}`);
    body.replaceChildren(...drawn(detail).filter(Boolean));
  } catch (error) {
    body.replaceChildren(el("p", { class: "trouble", role: "alert", text: formatError(error) }));
  } finally {
    body.removeAttribute("aria-busy");
  }
}

function drawn(detail) {
  const cameras = detail.by_camera.map(({ camera, items }) => [camera === null ? "not known" : `camera ${camera}`, items]);
  const empty =
    detail.size === 0
      ? el("p", {
          class: "sheet empty-gallery",
          text: `${detail.name} holds nothing yet. Enroll images on the search page, or fill it with: trireid index SOURCE --gallery ${detail.name}.gallery`,
        })
      : null;
  return [
    el(
      "div",
      { class: "sheet summary" },
      el("h2", { text: detail.name }),
      el(
        "dl",
        { class: "figures" },
        ...[
          ["items", detail.size.toLocaleString("en")],
          ["identities", detail.identities.toLocaleString("en")],
          ["cameras", String(detail.by_camera.filter(({ camera }) => camera !== null).length)],
          ["network", detail.model],
          ["made for", detail.kind ?? "any kind"],
          ["dimension", String(detail.dimension)],
        ].map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))),
      ),
    ),
    detail.demo_network ? betterNetwork(detail.name) : null,
    ...(empty
      ? [empty]
      : [
          el(
            "div",
            { class: "charts" },
            chart("Items by camera", bars(cameras, detail.size)),
            el(
              "div",
              { class: "stack" },
              chart(
                "Items by modalities",
                bars(
                  Object.entries(detail.by_modalities).map(([set, items]) => [set.toUpperCase().replaceAll("+", " + "), items]),
                  detail.size,
                ),
              ),
              chart("Items by kind", bars(Object.entries(detail.by_kind), detail.size)),
            ),
          ),
          chart("Items by day (UTC)", days(detail.by_day, detail.size)),
        ]),
  ];
}

/** How to take another network than the embedded one. */
function betterNetwork(name) {
  const command = (text) => el("code", { text });
  return el(
    "section",
    { class: "sheet better-network", "aria-labelledby": "better-network" },
    el("h2", { id: "better-network", text: "A better network" }),
    el("p", {
      text: "This gallery has an embedded network for demonstration. It was trained on drawn images: on your own cameras its accuracy is limited, as docs/default.md says. Train one on your own images, or take a checkpoint that you have:",
    }),
    command("trireid train CONFIG"),
    command("trireid export onnx CHECKPOINT --config YML -o FILE.onnx"),
    command(`trireid gallery reembed ${name}.gallery --model FILE.onnx`),
  );
}

function chart(title, content) {
  const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
  return el("section", { class: "sheet chart", "aria-labelledby": id }, el("h2", { id, text: title }), content);
}

/** Horizontal bars: [name, items]; the shares of all items next to them. */
function bars(rows, all) {
  if (!rows.length) return el("p", { class: "muted", text: "Nothing is known." });
  const most = Math.max(...rows.map(([, items]) => items));
  return el(
    "ul",
    { class: "bars" },
    ...rows.map(([name, items]) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i"));
      bar.firstChild.style.setProperty("--share", items / most);
      return el(
        "li",
        {},
        el("span", { class: "bar-name", text: name }),
        bar,
        el("span", { class: "value", text: items.toLocaleString("en") }),
        el("span", { class: "muted share", text: `${((100 * items) / all).toFixed(0)} %` }),
      );
    }),
  );
}

/** Columns of days, empty ones included; of months where there are too many days. */
function days(found, all) {
  if (!found.length) return el("p", { class: "muted", text: "No item has a time." });
  const { unit, columns } = spread(found);
  const most = Math.max(...columns.map(([, items]) => items));
  const timed = found.reduce((sum, { items }) => sum + items, 0);
  const svg = document.createElementNS(SVG, "svg");
  const busiest = columns.find(([, items]) => items === most);
  const about = `${counted(timed, "item")} ${timed < all ? `of ${all.toLocaleString("en")} ` : ""}with a time, ${columns[0][0]} to ${columns.at(-1)[0]}; most on ${busiest[0]}: ${most}`;
  for (const [name, value] of Object.entries({
    viewBox: `0 0 ${columns.length * 10} 100`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": about,
    class: "days",
  }))
    svg.setAttribute(name, value);
  svg.append(...columns.map(([name, items], index) => column(name, items, index, most)));
  return el(
    "div",
    {},
    el("p", { class: "muted", text: `${about}.` }),
    svg,
    el(
      "div",
      { class: "axis muted", "aria-hidden": "true" },
      el("span", { text: columns[0][0] }),
      columns.length > 1 ? el("span", { text: columns.at(-1)[0] }) : "",
    ),
    el(
      "details",
      {},
      el("summary", { text: "As a table" }),
      el(
        "div",
        { class: "table" },
        el(
          "table",
          {},
          el("thead", {}, el("tr", {}, el("th", { scope: "col", text: unit }), el("th", { scope: "col", text: "items" }))),
          el(
            "tbody",
            {},
            ...columns
              .filter(([, items]) => items)
              .map(([name, items]) =>
                el("tr", {}, el("th", { scope: "row", text: name }), el("td", { text: items.toLocaleString("en") })),
              ),
          ),
        ),
      ),
    ),
  );
}

function column(name, items, index, most) {
  const rect = document.createElementNS(SVG, "rect");
  const height = items ? Math.max(2, (100 * items) / most) : 0;
  for (const [key, value] of Object.entries({ x: index * 10 + 1, width: 8, y: 100 - height, height }))
    rect.setAttribute(key, value);
  const title = document.createElementNS(SVG, "title");
  title.textContent = `${name}: ${items}`;
  rect.append(title);
  return rect;
}

function spread(found) {
  const known = new Map(found.map(({ day, items }) => [day, items]));
  const all = [...known.keys()].sort();
  const [first, last] = [Date.parse(all[0]), Date.parse(all.at(-1))];
  if (Number.isNaN(first) || Number.isNaN(last) || (last - first) / DAY <= DAYS_APART)
    return { unit: "day", columns: every(known, first, last) };
  const months = new Map();
  for (const [day, items] of [...known].sort()) months.set(day.slice(0, 7), (months.get(day.slice(0, 7)) ?? 0) + items);
  return { unit: "month", columns: [...months] };
}

function every(known, first, last) {
  if (Number.isNaN(first) || Number.isNaN(last)) return [...known].sort();
  const number = Math.round((last - first) / DAY) + 1;
  return Array.from({ length: number }, (_, index) => new Date(first + index * DAY).toISOString().slice(0, 10)).map((day) => [
    day,
    known.get(day) ?? 0,
  ]);
}
