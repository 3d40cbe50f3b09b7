// Requests to the service the page came from. The key lives in here, for as long as the page
// does: never in storage, in an address or in the document.
import { readJson, writeJson } from "./json.js";

const PATIENCE_SECONDS = 15;

/** A refusal of the service: its problem document. */
export class ApiProblem extends Error {
  constructor(status, body, { requestId = "", retryAfter = 0 } = {}) {
    const [title, detail, code] = [body.title, body.detail, body.code].map(textOf);
    super(detail || title || `the service answered ${status}`);
    this.name = "ApiProblem";
    this.status = status;
    this.code = code || "unknown";
    this.title = title || `Status ${status}`;
    this.detail = detail;
    this.errors = errorsOf(body.errors);
    this.requestId = requestId;
    this.retryAfter = retryAfter; // seconds, 0 where nothing is said
  }

  /** What the service says of a field, by the beginning of its JSON pointer; "" for nothing. */
  at(pointer) {
    return this.errors
      .filter((one) => one.pointer === pointer || one.pointer.startsWith(`${pointer}/`))
      .map((one) => one.detail)
      .join("; ");
  }
}

// What comes with a refusal need not be the service's: a proxy writes JSON of its own.
function textOf(value) {
  return typeof value === "string" ? value : "";
}

function errorsOf(found) {
  if (!Array.isArray(found)) return [];
  return found
    .filter((one) => typeof one?.pointer === "string")
    .map(({ pointer, detail }) => ({ pointer, detail: textOf(detail) }));
}

/** No answer came: the service or the way to it is gone. */
export class Unreachable extends Error {
  constructor(cause) {
    super("the service does not answer");
    this.name = "Unreachable";
    this.cause = cause;
  }
}

/**
 * onUnauthorized(hadKey): a request was refused for want of a valid key.
 * onReachable(reachable): whether the last request got an answer.
 */
export function createApi({ onUnauthorized = () => {}, onReachable = () => {} } = {}) {
  let key = null;

  async function request(method, path, body, { signal, idempotencyKey, quiet = false, patience = Infinity } = {}) {
    const headers = { Accept: "application/json" };
    const sentKey = key;
    if (sentKey !== null) headers.Authorization = `Bearer ${sentKey}`;
    if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
    const asking = limited(signal, patience);
    const options = { method, headers, signal: asking.signal, cache: "no-store" };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      options.body = typeof body === "string" ? body : writeJson(body);
    }
    let response;
    let text;
    try {
      response = await fetch(path, options);
      asking.begun();
      text = await response.text();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      onReachable(false);
      throw new Unreachable(error);
    } finally {
      asking.ended();
    }
    onReachable(true);
    if (response.ok) return answerOf(response, text);
    const problem = problemOf(response, text);
    // A key that was changed meanwhile says nothing about the one there is now.
    if (response.status === 401 && sentKey === key && !quiet) onUnauthorized(sentKey !== null);
    throw problem;
  }

  return {
    /**
     * JSON out. quiet: a refusal for want of a key is nobody's business but the caller's.
     * patience: seconds within which the answer must begin: a service that hangs is out of reach
     * as well. Questions by POST may take their time.
     */
    get: (path, { signal, quiet, patience = PATIENCE_SECONDS } = {}) =>
      request("GET", path, undefined, { signal, quiet, patience }),
    /** JSON in (a value, or text that is JSON already), JSON out. key: the Idempotency-Key. */
    send: (method, path, body, { signal, key: idempotencyKey } = {}) =>
      request(method, path, body, { signal, idempotencyKey }),
    /** The access key of every later request; null for none. */
    setKey(text) {
      key = text;
    },
    hasKey: () => key !== null,
  };
}

/** The caller's signal, which also ends when no answer has `begun` within so many seconds. */
function limited(signal, seconds) {
  const controller = new AbortController();
  const cancel = () => controller.abort(signal.reason);
  const late = () => controller.abort(new DOMException("no answer in time", "TimeoutError"));
  const timer = seconds === Infinity ? null : setTimeout(late, 1000 * seconds);
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel);
  const begun = () => clearTimeout(timer);
  return {
    signal: controller.signal,
    begun,
    ended() {
      begun();
      signal?.removeEventListener("abort", cancel);
    },
  };
}

function answerOf(response, text) {
  if (text === "") return null;
  try {
    return readJson(text);
  } catch {
    // A page to log in, say: answered 200, and not by the service.
    const detail = "what came is no JSON: something between here and the service answered instead";
    throw new ApiProblem(response.status, { title: "Not an answer of the service", detail });
  }
}

function problemOf(response, text) {
  const about = {
    requestId: response.headers.get("x-request-id") ?? "",
    retryAfter: Number(response.headers.get("retry-after")) || 0, // a date counts as nothing said
  };
  try {
    const body = readJson(text);
    if (body !== null && typeof body === "object") return new ApiProblem(response.status, body, about);
  } catch {
    // A proxy's page, not the service's problem.
  }
  const title = response.statusText || `Status ${response.status}`;
  const detail = `something between here and the service answered ${response.status}`;
  return new ApiProblem(response.status, { title, detail }, about);
}

/** A path of the API with a name in it, and a query of what is not empty. */
export function path(parts, query = {}) {
  const steps = parts.map(encodeURIComponent).join("/");
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") asked.set(name, value);
  }
  const text = asked.toString();
  return `/v1/${steps}${text === "" ? "" : `?${text}`}`;
}

/** An Idempotency-Key for one change, kept over its repetitions. */
export function newIdempotencyKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
