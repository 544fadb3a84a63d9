/** The types of requests and responses: those of the OpenAPI document, and aliases of its plain strings. */
export type * from "./schema";

/** A subject of presence: `u_1`, `agent:daarwizz` or `@olena:example.org`. */
export type SubjectId = string;
