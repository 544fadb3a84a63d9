import type { Rolldown } from "vite";

/** The document and the entry that it names: what they import is in chunks of its own. */
const ENTRY = /(\/index\.html|\/src\/main\.tsx)$/;
/** Lazy parts around a conversation, with all that a message can show. */
const CONVERSATION_PARTS = /\/(CityRoomView|ThreadPanel|EmbedApp|MessagePreview|PictureViewer|VoiceRecorder|RoomSettings)\.tsx$/;
/** Those with the text of messages only. */
const TEXT_PARTS = /\/(AgentPage|SecondMePage|Markdown|highlight)\.tsx$/;

/**
 * The chunks of the entry, and those that several lazy parts of the pages share.
 *
 * Without them each set of parts has a chunk for what only they share: a first visit would load dozens of small ones, each of
 * which costs a response on a slow network and is hardly compressed. A chunk takes what its modules import, unless a chunk
 * above it has that: so those with what most parts need come first.
 */
export const chunkGroups: Rolldown.CodeSplittingGroup[] = [
  { name: "libraries", tags: ["$initial"], test: /\/node_modules\//, priority: 5 },
  { name: "pages", tags: ["$initial"], test: (id) => !ENTRY.test(id), priority: 4 },
  { debugName: "lists", name: shared("lists"), priority: 3 },
  { debugName: "text", name: shared("text"), priority: 2 },
  { debugName: "conversation", name: shared("conversation"), priority: 1 },
];

type SharedChunk = "lists" | "text" | "conversation";

/** Puts the modules of a shared chunk there. */
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

/** The modules that are imported dynamically and import the module `id`, directly or not. */
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
