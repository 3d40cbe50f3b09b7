// Requests to the service the page came from. The key lives in here, for as long as the page
// does: never in storage, in an address or in the document.
import { readJson, writeJson } from "./json.js";

/** A refusal of the service: its problem document. */
export class ApiProblem extends Error {
  constructor(status, body, requestId) {
    super(body.detail || body.title || `the service answered ${status}`);
    this.name = "ApiProblem";
    this.status = status;
    this.code = body.code || "unknown";
    this.title = body.title || `Status ${status}`;
    this.detail = body.detail || "";
    this.errors = body.errors || [];
    this.requestId = requestId || "";
  }

  /** What the service says of a field, by the beginning of its JSON pointer; "" for nothing. */
  at(pointer) {
    return this.errors
      .filter((one) => one.pointer === pointer || one.pointer.startsWith(`${pointer}/`))
      .map((one) => one.detail)
      .join("; ");
  }
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

  async function request(method, path, body, { signal, idempotencyKey, quiet = false } = {}) {
    const headers = { Accept: "application/json" };
    const sentKey = key;
    if (sentKey !== null) headers.Authorization = `Bearer ${sentKey}`;
    if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
    const options = { method, headers, signal, cache: "no-store" };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      options.body = typeof body === "string" ? body : writeJson(body);
    }
    let response;
    let text;
    try {
      response = await fetch(path, options);
      text = await response.text();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      onReachable(false);
      throw new Unreachable(error);
    }
    onReachable(true);
    if (response.ok) return text === "" ? null : readJson(text);
    const problem = problemOf(response, text);
    // A key that was changed meanwhile says nothing about the one there is now.
    if (response.status === 401 && sentKey === key && !quiet) onUnauthorized(sentKey !== null);
    throw problem;
  }

  return {
    /** JSON out. quiet: a refusal for want of a key is nobody's business but the caller's. */
    get: (path, { signal, quiet } = {}) => request("GET", path, undefined, { signal, quiet }),
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

function problemOf(response, text) {
  const requestId = response.headers.get("x-request-id");
  try {
    const body = readJson(text);
    if (body !== null && typeof body === "object") {
      return new ApiProblem(response.status, body, requestId);
    }
  } catch {
    // A proxy's page, not the service's problem.
  }
  const title = response.statusText || `Status ${response.status}`;
  return new ApiProblem(
    response.status,
    { title, detail: `something between here and the service answered ${response.status}` },
    requestId,
  );
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
