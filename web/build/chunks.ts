import type { Rolldown } from "vite";

/** The document and the entry module that it names: the modules that they import are in chunks of their own. */
const ENTRY = /(\/index\.html|\/src\/main\.tsx)$/;
/** Dynamically imported modules of a conversation, with everything that a message can show. */
const CONVERSATION_PARTS = /\/(CityRoomView|ThreadPanel|EmbedApp|MessagePreview|PictureViewer|VoiceRecorder|RoomSettings)\.tsx$/;
/** Dynamically imported modules that render only the text of messages. */
const TEXT_PARTS = /\/(AgentPage|SecondMePage|Markdown|highlight)\.tsx$/;

/**
 * The chunks of the entry, and the chunks that several dynamically imported modules share.
 *
 * Without these groups, each set of modules gets a chunk for the code that only they share: a first visit would load dozens of
 * small chunks, each of which costs a response on a slow network and is hardly compressed. A chunk also takes the imports of its
 * modules, unless a chunk above it has them: so the chunks that most modules need come first.
 */
export const chunkGroups: Rolldown.CodeSplittingGroup[] = [
  { name: "libraries", tags: ["$initial"], test: /\/node_modules\//, priority: 5 },
  { name: "pages", tags: ["$initial"], test: (id) => !ENTRY.test(id), priority: 4 },
  { debugName: "lists", name: shared("lists"), priority: 3 },
  { debugName: "text", name: shared("text"), priority: 2 },
  { debugName: "conversation", name: shared("conversation"), priority: 1 },
];

type SharedChunk = "lists" | "text" | "conversation";

/** Return a function that names the chunk for the modules that belong to it. */
function shared(chunk: SharedChunk): Rolldown.CodeSplittingNameFunction {
  return (id, graph) => {
    const parts = [...partsWith(id, graph)];
    return parts.length > 1 && sharedChunk(parts) === chunk ? chunk : null;
  };
}

function sharedChunk(parts: string[]): SharedChunk {
  if (parts.every((part) => CONVERSATION_PARTS.test(part))) return "conversation";
  return parts.every((part) => CONVERSATION_PARTS.test(part) || TEXT_PARTS.test(part)) ? "text" : "lists";
}

/** The dynamically imported modules that import the module `id`, directly or indirectly. */
function partsWith(id: string, graph: Rolldown.ChunkingContext): Set<string> {
  const parts = new Set<string>();
  const seen = new Set<string>();
  const follow = (module: string) => {
    if (seen.has(module)) return;
    seen.add(module);
    const info = graph.getModuleInfo(module);
    if (info?.dynamicImporters.length) parts.add(module);
    info?.importers.forEach(follow);
  };
  follow(id);
  return parts;
}
