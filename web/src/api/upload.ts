import { address, ANSWER_WITHIN_MS, BODY_WITHIN_MS, currentToken, noteRefusal } from "./http";
import { problemOf, timedOut, unreachable } from "./problem";
import type { Media } from "./types";

/**
 * Bring a file into the city. fetch() does not tell how much of a body has left.
 *
 * `told` hears from 0 to 1. `token` is that of the author, whoever is signed in meanwhile. Raises Problem, also when nothing
 * moves for 20 seconds or the response takes more than 60, and AbortError when `signal` aborts.
 */
export function upload(
  file: File,
  told: (part: number) => void,
  signal: AbortSignal,
  token: string | null = currentToken(),
): Promise<Media> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const within = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        reject(timedOut());
        request.abort();
      }, ms);
    };
    request.open("POST", address("/city/media", { filename: file.name }));
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = ({ loaded, total }) => {
      within(ANSWER_WITHIN_MS);
      told(total ? loaded / total : 0);
    };
    request.upload.onload = () => within(BODY_WITHIN_MS);
    request.onerror = () => reject(unreachable(new Error("the file did not arrive")));
    request.onabort = () => reject(new DOMException("taken back", "AbortError"));
    request.onloadend = () => clearTimeout(timer);
    request.onload = () => {
      if (request.status < 300) {
        resolve(JSON.parse(request.responseText) as Media);
        return;
      }
      const problem = problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      noteRefusal(problem, token);
      reject(problem);
    };
    if (signal.aborted) {
      reject(new DOMException("taken back", "AbortError"));
      return;
    }
    signal.addEventListener("abort", () => request.abort());
    within(ANSWER_WITHIN_MS);
    request.send(file);
  });
}

/** A file that an `<img>` was refused because it sends no token, as an address of this page's own. */
export async function fetchBlobUrl(url: string): Promise<string> {
  const token = currentToken();
  const signal = AbortSignal.timeout(BODY_WITHIN_MS);
  const response = await fetch(url, { signal, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (!response.ok) throw problemOf(response.status, await response.text(), null);
  return URL.createObjectURL(await response.blob());
}
