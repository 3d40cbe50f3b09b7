// Where a refusal is shown: at the field it points to, or, where no field of ours fits, below.
import { ApiProblem } from "./api.js";

/** What the problem says of the fields of these pointers, "" for nothing. */
export function saidOf(problem, ...pointers) {
  if (!(problem instanceof ApiProblem)) return "";
  return pointers.map((pointer) => problem.at(pointer)).filter(Boolean).join("; ");
}

export const QUERY_POINTERS = ["/x", "/queries", "/X"];

/** The problem, unless every field it points to is one of these and shows it itself. */
export function restOf(problem, ...pointers) {
  if (!(problem instanceof ApiProblem) || !problem.errors.length) return problem;
  const shown = problem.errors.every((error) =>
    pointers.some((pointer) => error.pointer === pointer || error.pointer.startsWith(`${pointer}/`)));
  return shown ? null : problem;
}
