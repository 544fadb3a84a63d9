/**
 * Whether this is the document of a frame on another site: it shows one room, and no other page. Its history is that of the site, so
 * it adds no entries and never goes back.
 */
export const isEmbedded = location.pathname.startsWith("/embed/");
