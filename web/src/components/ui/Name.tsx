import { plainName } from "../../lib/names";

/** The name of a person or thing, isolated so that its text direction does not reorder the words around it. */
export function Name({ children }: { children: string }) {
  return <bdi>{plainName(children)}</bdi>;
}
