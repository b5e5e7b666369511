// Elements, made and found. No markup is ever parsed: what a gallery holds is shown as text.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An element. Properties: `class`, `text`, `data` (an object), `on` (event: listener), else attributes; null leaves one out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Show or hide elements. */
export function show(shown, ...elements) {
  for (const element of elements) element.hidden = !shown;
}

/** "1 item", "2 items". */
export const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** Say something to those who do not see the page. */
export function announce(text) {
  byId("live").textContent = text;
}
