// The server: every request of the page, with the caller's token; every error as an ApiError with the server's one line.

const ROOT = new URL("../v1/", import.meta.url);
const KEY = "trireid.token";
const IMAGES_AT_ONCE = 6;
const ATTEMPTS = 5;

/** An error that the server answered. `status` 0: it was not reached. */
export class ApiError extends Error {
  constructor(status, { code = "error", message, field = null }, retry = null, request = null) {
    super(message);
    Object.assign(this, { status, code, field, retry, request });
  }
}

/** The caller's token: of this tab, gone when it closes. */
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

let refused = () => {};

/** Call `listener` with the error wherever the server asks for a token. */
export function onUnauthorized(listener) {
  refused = listener;
}

/** The JSON that the server answers. `form`: fields and files of a multipart form; `json`: a JSON body. Raises ApiError. */
export async function ask(path, { form = null, json = null, signal = null } = {}) {
  const headers = {};
  let body = null;
  if (json) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  } else if (form) {
    body = new FormData();
    for (const [name, value] of Object.entries(form)) if (value !== null && value !== "") body.append(name, value);
  }
  const answer = await reached(path, { method: body ? "POST" : "GET", headers, body, signal });
  return answer.json();
}

async function reached(path, options) {
  const headers = { ...options.headers, ...(token.get() ? { Authorization: `Bearer ${token.get()}` } : {}) };
  let answer;
  try {
    answer = await fetch(new URL(path.replace(/^\//, ""), ROOT), { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached." });
  }
  if (answer.ok) return answer;
  throw await readError(answer);
}

async function readError(answer) {
  const said = await answer.json().catch(() => null);
  const error = said?.error ?? { message: `The server answered ${answer.status} ${answer.statusText}` };
  const retry = Number(answer.headers.get("Retry-After")) || null;
  const raised = new ApiError(answer.status, error, retry, answer.headers.get("X-Request-Id"));
  if (answer.status === 401) refused(raised);
  return raised;
}

let atWork = 0;
const waiting = [];

/** An image of the server as a Blob: few at a time, and patient with a server that says "later". Raises ApiError. */
export async function image(path, signal) {
  if (atWork >= IMAGES_AT_ONCE)
    await new Promise((resolve) => {
      waiting.push(resolve);
    });
  atWork += 1;
  try {
    return await withRetries(() => reached(path, { method: "GET", signal }), signal);
  } finally {
    atWork -= 1;
    waiting.shift()?.();
  }
}

async function withRetries(request, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await (await request()).blob();
    } catch (error) {
      if (![429, 503].includes(error.status) || attempt === ATTEMPTS || signal?.aborted) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, 1000 * (error.retry ?? 1));
      });
    }
  }
}
