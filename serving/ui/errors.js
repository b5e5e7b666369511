// Errors, shown at the field that they are about, or in one line of their own.

import { ApiError } from "./api.js";
import { byId, show } from "./dom.js";

/** Describe an error: the server's line, and when to try again. */
export function formatError(error) {
  if (!(error instanceof ApiError)) return `This page failed: ${error.message}`;
  const again = error.retry && [429, 503].includes(error.status) ? ` Try again in ${error.retry} s.` : "";
  const request = error.status >= 500 && error.request ? ` (request ${error.request})` : "";
  return `${error.message}${again}${request}`;
}

/** Show a line in the element `error-NAME`, and mark and focus the control called `control`. */
export function showErrorAt(name, line, control = name) {
  const element = byId(`error-${name}`);
  element.textContent = line;
  show(true, element);
  element.closest("details")?.setAttribute("open", "");
  const input = byId(control);
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

/** Take back every error shown inside an element. */
export function clearErrors(inside) {
  for (const element of inside.querySelectorAll(".error, .trouble")) {
    element.textContent = "";
    show(false, element);
  }
  for (const input of inside.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** Show an error at the field it names, if there is an element `error-PREFIXfield`; else in `otherwise`. */
export function showError(error, otherwise, prefix = "", control = (field) => `${prefix}${field}`) {
  const line = formatError(error);
  if (error.field && byId(`error-${prefix}${error.field}`)) showErrorAt(`${prefix}${error.field}`, line, control(error.field));
  else {
    otherwise.textContent = line;
    show(true, otherwise);
  }
}
