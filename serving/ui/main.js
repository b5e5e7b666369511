// The page: who is asking, which gallery, and the search that runs.

import { ask, onUnauthorized, token } from "./api.js";
import { compare } from "./compare.js";
import { announce, byId, counted, el, show } from "./dom.js";
import { Enroll } from "./enroll.js";
import { clearErrors, showErrorAt, formatError, showError } from "./errors.js";
import { FieldError, Filters } from "./filters.js";
import { overview } from "./overview.js";
import { Query } from "./query.js";
import { Remove } from "./remove.js";
import { Results } from "./results.js";

let who = null;
let galleries = [];
let running = null;

/** Whether the caller has a scope, in one gallery or (null) in any; a scope may be limited to a gallery: `search:people`. */
const may = (scope, gallery = null) =>
  Boolean(
    who?.scopes.some((granted) => {
      const [name, limited] = granted.split(":");
      return name === scope && (limited === undefined || gallery === null || decodeURIComponent(limited) === gallery);
    }),
  );
const chosen = () => galleries.find(({ name }) => name === byId("gallery").value) ?? null;

const filters = new Filters();
const query = new Query(queryChanged);
const results = new Results({
  query: searchWith,
  remove: (hit) => remove.open(results.answer.gallery, hit, results.thumbs),
  compare: (hit) => compare(hit, query.urls, results.thumbs),
  mayRemove: () => may("remove", chosen()?.name),
});
const enroll = new Enroll(query, enrolled);
const remove = new Remove(removed);

// ---- Caller

onUnauthorized((error) => signIn(token.get() ? error.message : ""));

async function begin() {
  try {
    who = await ask("whoami");
    galleries = may("search") ? (await ask("galleries")).galleries : [];
  } catch (error) {
    if (error.status !== 401) refuse(formatError(error));
    return;
  }
  show(false, byId("sign-in"), byId("refused"));
  show(may("search"), byId("views"), byId("top-gallery"), byId("go"));
  show(may("enroll"), byId("enroll-open"));
  show(true, byId("who"));
  show(!who.open, byId("sign-out"));
  byId("who-name").textContent = who.open ? "open to this machine" : who.name;
  byId("who-name").title = `May ${who.scopes.join(", ") || "do nothing"}`;
  listGalleries();
  view();
}

function listGalleries(selected = byId("gallery").value) {
  byId("gallery").replaceChildren(
    ...galleries.map(({ name, size }) => el("option", { value: name, text: `${name} (${size.toLocaleString("en")})` })),
  );
  if (galleries.some(({ name }) => name === selected)) byId("gallery").value = selected;
  chosenChanged();
}

function signIn(line) {
  leave();
  token.forget();
  show(true, byId("sign-in"));
  byId("error-token").textContent = line;
  show(Boolean(line), byId("error-token"));
  byId("token").toggleAttribute("aria-invalid", Boolean(line));
  byId("token").value = "";
  byId("token").focus();
}

function refuse(line) {
  leave();
  byId("refused-why").textContent = line;
  show(true, byId("refused"));
}

/** Take everything off the page that belongs to the last caller. */
function leave() {
  running?.abort();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  who = null;
  galleries = [];
  query.files = {};
  query.changed();
  results.forget();
  byId("query").reset();
  filters.attributes.clear();
  filters.count();
  byId("overview-body").replaceChildren();
  show(false, ...["sign-in", "refused", "search", "overview", "views", "top-gallery", "who"].map(byId));
}

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = byId("token").value.trim();
  if (!/^[\x21-\x7e]+$/.test(given))
    return showErrorAt("token", given ? "A token has no spaces and no special letters." : "Type or paste the token.");
  token.set(given);
  return begin();
});
byId("sign-out").addEventListener("click", () => signIn(""));
byId("retry").addEventListener("click", begin);

// ---- Which view, which gallery

function view() {
  if (!who) return;
  const name = location.hash === "#overview" && may("search") ? "overview" : "search";
  show(name === "search", byId("search"));
  show(name === "overview", byId("overview"));
  for (const link of byId("views").children) link.toggleAttribute("aria-current", false);
  byId("views").querySelector(`[href="#${name}"]`).setAttribute("aria-current", "page");
  document.title = name === "search" ? "trireid: search" : "trireid: overview";
  if (name === "overview" && chosen()) overview(chosen().name);
}

window.addEventListener("hashchange", view);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  const target = [byId("results"), byId("overview-body"), byId("token")].find((each) => !each.closest("[hidden]"));
  target?.setAttribute("tabindex", target.getAttribute("tabindex") ?? "-1");
  target?.focus();
});
byId("gallery").addEventListener("change", () => {
  clearErrors(byId("top-gallery"));
  running?.abort();
  query.keep({});
  results.forget();
  chosenChanged();
  view();
});

function chosenChanged() {
  show(Boolean(chosen()?.demo_network), byId("demo-network"));
  nothingYet();
}

async function refreshSizes() {
  galleries = may("search") ? (await ask("galleries").catch(() => ({ galleries }))).galleries : [];
  listGalleries();
}

/** The text in place of hits. */
function nothingYet() {
  const gallery = chosen();
  const [title, line] = emptyLines(gallery);
  byId("empty").replaceChildren(el("p", { class: "empty-title", text: title }), el("p", { class: "muted", text: line }));
  show(!results.answer?.hits.length, byId("empty"));
}

function emptyLines(gallery) {
  if (!may("search"))
    return [
      "This token may not search",
      may("enroll") ? "It may enroll: add images, then Enroll." : "Ask the operator of this server for one that may.",
    ];
  if (!gallery) return ["No gallery is served", "Start the server with one: trireid serve GALLERY"];
  if (results.answer) return gallery.size ? ["No hits", "Nothing in this gallery passes the filters."] : emptyGallery(gallery);
  return gallery.size
    ? [
        "Who or what is this, and where else was it seen?",
        `Add one to three images of the same ${gallery.kind ?? "person or vehicle"}: visible, near infrared, thermal. One is enough. ${gallery.name} holds ${counted(gallery.size, "item")}.`,
      ]
    : emptyGallery(gallery);
}

const emptyGallery = ({ name }) => [
  `${name} is empty`,
  may("enroll") ? "Add images, then Enroll, to put the first item into it." : "There is nothing to find in it yet.",
];

// ---- The search

byId("query").addEventListener("submit", (event) => {
  event.preventDefault();
  if (may("search")) search();
});
byId("cancel").addEventListener("click", () => running?.abort());
document.addEventListener(
  "keydown",
  (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && running?.abort(),
);

function queryChanged() {
  clearErrors(byId("slots"));
  if (!results?.answer) return;
  byId("note").textContent = "The images have changed since this search.";
  show(true, byId("note"));
}

async function search() {
  running?.abort();
  clearErrors(document.body);
  const form = asked();
  if (!form) return;
  running = new AbortController();
  const { signal } = running;
  const done = progress(form.gallery);
  try {
    found(await ask("search", { form, signal }));
  } catch (error) {
    if (error.name === "AbortError") announce("Cancelled.");
    else if (error.status !== 401) showError(error, byId("trouble"), "", controlOf);
  } finally {
    done();
    if (running?.signal === signal) running = null;
  }
}

/** The form of a search, or null where something is missing, which is then said. */
function asked() {
  if (!query.present.length) {
    showErrorAt("images", "Add at least one image.", "pick-rgb");
    return null;
  }
  let where;
  try {
    where = filters.where();
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    showErrorAt(error.field, error.message);
    return null;
  }
  return {
    ...query.files,
    gallery: byId("gallery").value,
    k: byId("k").value,
    camera: byId("camera").value,
    other_cameras: byId("other-cameras").checked ? "true" : null,
    rerank: byId("rerank").checked ? "true" : null,
    min_score: byId("min-score").value,
    where: where && JSON.stringify(where),
  };
}

const controlOf = (field) =>
  ({
    rgb: "pick-rgb",
    nir: "pick-nir",
    tir: "pick-tir",
    other_cameras: "other-cameras",
    min_score: "min-score",
    where: "where-cameras",
  })[field] ?? field;

/** Show that a search runs, and for how long; call what it gives when it does not any more. */
function progress(gallery) {
  const began = performance.now();
  const tell = () => {
    byId("progress-text").textContent = `Searching ${gallery}, ${((performance.now() - began) / 1000).toFixed(1)} s`;
  };
  tell();
  show(true, byId("progress"));
  byId("results").setAttribute("aria-busy", "true");
  const timer = setInterval(tell, 100);
  return () => {
    clearInterval(timer);
    show(false, byId("progress"));
    byId("results").removeAttribute("aria-busy");
  };
}

function found(answer) {
  results.take(answer);
  query.keep(answer);
  nothingYet();
  const [best] = answer.hits;
  announce(
    best
      ? `${counted(answer.hits.length, "hit")}. Best: ${best.identity ?? best.id}, score ${best.score.toFixed(4)}.`
      : "No hits.",
  );
  byId("results").focus({ preventScroll: true });
  if (narrow()) byId("results").scrollIntoView();
}

const narrow = () => matchMedia("(max-width: 760px)").matches;

async function searchWith(hit) {
  try {
    const files = await results.thumbs.files(hit);
    query.files = files;
    byId("camera").value = hit.camera ?? "";
    query.changed();
  } catch (error) {
    byId("trouble").textContent = formatError(error);
    show(true, byId("trouble"));
    return;
  }
  window.scrollTo({ top: 0 });
  await search();
}

// ---- Changes

byId("enroll-open").addEventListener("click", () => {
  clearErrors(byId("query"));
  if (!query.present.length) showErrorAt("images", "Add at least one image.", "pick-rgb");
  else enroll.open(chosen()?.name ?? null, chosen()?.kind ?? null);
});

async function enrolled(gallery, id) {
  tell(`Enrolled${gallery ? ` into ${gallery}` : ""} as ${id}.`);
  await refreshSizes();
}

async function removed(number, gone) {
  results.without(gone);
  tell(number ? `Removed ${counted(number, "item")}.` : "Nothing was removed: it was gone already.");
  await refreshSizes();
  byId("results").focus();
}

function tell(line) {
  byId("note").textContent = line;
  show(true, byId("note"));
  announce(line);
}

begin();
