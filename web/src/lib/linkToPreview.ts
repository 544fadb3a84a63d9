import type { Message } from "../api/types";
import { splitLinks } from "./links";

/** Hosts that the city refuses as well: IP addresses, single labels and domains of local networks. */
const LOCAL_HOST =
  /^[^.]*\.?$|^[\d.]+$|:|\.(local|localhost|internal|intranet|lan|home|corp|private|test|invalid|onion|home\.arpa)\.?$/;
const MATRIX_TO = "matrix.to";
/** Elements whose links have no preview: hidden text, the quoted message, and code. */
const NOT_SHOWN = "[data-mx-spoiler], mx-reply, pre, code";

/** The first link of a message to a public page outside of this city; null if it has none. */
export function linkToPreview({ body, formatted_body: html, deleted }: Message): string | null {
  if (deleted || !(html ?? body).includes("://")) return null;
  return (html ? linksOf(html) : textLinks(body)).find(isPublic) ?? null;
}

function linksOf(html: string): string[] {
  const links = new DOMParser().parseFromString(html, "text/html").querySelectorAll("a[href]");
  return [...links].filter((link) => !link.closest(NOT_SHOWN)).map((link) => link.getAttribute("href") ?? "");
}

function textLinks(body: string): string[] {
  return splitLinks(body).flatMap(({ text, isLink }) => (isLink ? [text] : []));
}

function isPublic(link: string): boolean {
  if (!URL.canParse(link)) return false;
  const { protocol, hostname, port, username, password, origin } = new URL(link);
  const isWeb = protocol === "https:" || protocol === "http:";
  return (
    isWeb && !port && !username && !password && hostname !== MATRIX_TO && origin !== location.origin && !LOCAL_HOST.test(hostname)
  );
}
