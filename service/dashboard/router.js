// Addresses of the page: what stands behind the #.
import { useEffect, useState } from "./vendor/htm-preact.js";

/** {page: "list" | "create" | "sketch" | "missing", name} of a hash. */
export function routeOf(hash) {
  const path = hash.replace(/^#/, "");
  if (path === "" || path === "/") return { page: "list" };
  if (path === "/new") return { page: "create" };
  const found = /^\/sketches\/([^/]+)$/.exec(path);
  if (found === null) return { page: "missing" };
  try {
    return { page: "sketch", name: decodeURIComponent(found[1]) };
  } catch {
    return { page: "missing" }; // a % that begins nothing
  }
}

/** The address of a sketch's page. */
export function sketchAddress(name) {
  return `#/sketches/${encodeURIComponent(name)}`;
}

/** Goes to another page of the dashboard. */
export function navigate(hash) {
  window.location.hash = hash;
}

/** The route there is now. */
export function useRoute() {
  const [route, setRoute] = useState(() => routeOf(window.location.hash));
  useEffect(() => {
    const follow = () => setRoute(routeOf(window.location.hash));
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return route;
}
