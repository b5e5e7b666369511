// Faults, shown where they belong: beside the field, or in one line of their own.

import { ApiError } from "./api.js";
import { byId, show } from "./dom.js";

/** What to tell of an error: the server's line, and when to try again. */
export function lineOf(error) {
  if (!(error instanceof ApiError)) return `This page failed: ${error.message}`;
  const again = error.retry && [429, 503].includes(error.status) ? ` Try again in ${error.retry} s.` : "";
  const request = error.status >= 500 && error.request ? ` (request ${error.request})` : "";
  return `${error.message}${again}${request}`;
}

/** Show a line in the element `error-NAME`, and mark and focus the control called `control`. */
export function faultBeside(name, line, control = name) {
  const place = byId(`error-${name}`);
  place.textContent = line;
  show(true, place);
  place.closest("details")?.setAttribute("open", "");
  const input = byId(control);
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

/** Take back every fault shown inside an element. */
export function clearFaults(inside) {
  for (const place of inside.querySelectorAll(".error, .trouble")) {
    place.textContent = "";
    show(false, place);
  }
  for (const input of inside.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** Show an error beside the field it names, where there is a place `error-PREFIXfield`; else in `otherwise`. */
export function showFault(error, otherwise, prefix = "", control = (field) => `${prefix}${field}`) {
  const line = lineOf(error);
  if (error.field && byId(`error-${prefix}${error.field}`)) faultBeside(`${prefix}${error.field}`, line, control(error.field));
  else {
    otherwise.textContent = line;
    show(true, otherwise);
  }
}
