import { plainName } from "../../lib/names";

/** What somebody or something is called: its direction of writing stays its own and leaves the words around it in order. */
export function Name({ children }: { children: string }) {
  return <bdi>{plainName(children)}</bdi>;
}
