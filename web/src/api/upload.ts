import { withQuery, RESPONSE_TIMEOUT_MS, BODY_TIMEOUT_MS, currentToken, reportUnauthorized } from "./http";
import { problemOf, timedOut, unreachable } from "./problem";
import type { Media } from "./types";

/**
 * Upload a file to the city by XMLHttpRequest: fetch() does not report how much of a body was sent.
 *
 * `onProgress` is called with 0 to 1. `token` is the author's, whoever is signed in meanwhile. Raises Problem, also if nothing is
 * transferred for 20 seconds or the response takes more than 60, and AbortError when `signal` aborts.
 */
export function upload(
  file: File,
  onProgress: (part: number) => void,
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
    request.open("POST", withQuery("/city/media", { filename: file.name }));
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = ({ loaded, total }) => {
      within(RESPONSE_TIMEOUT_MS);
      onProgress(total ? loaded / total : 0);
    };
    request.upload.onload = () => within(BODY_TIMEOUT_MS);
    request.onerror = () => reject(unreachable(new Error("the file did not arrive")));
    request.onabort = () => reject(new DOMException("taken back", "AbortError"));
    request.onloadend = () => clearTimeout(timer);
    request.onload = () => {
      if (request.status < 300) {
        resolve(JSON.parse(request.responseText) as Media);
        return;
      }
      const problem = problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      reportUnauthorized(problem, token);
      reject(problem);
    };
    if (signal.aborted) {
      reject(new DOMException("taken back", "AbortError"));
      return;
    }
    signal.addEventListener("abort", () => request.abort());
    within(RESPONSE_TIMEOUT_MS);
    request.send(file);
  });
}

/** An object URL for a file that an `<img>` could not load, because it sends no token. */
export async function fetchBlobUrl(url: string): Promise<string> {
  return URL.createObjectURL(await fetchBlob(url));
}

/** Download a file with the reader's token. Raises Problem. */
export async function fetchBlob(url: string): Promise<Blob> {
  const token = currentToken();
  const signal = AbortSignal.timeout(BODY_TIMEOUT_MS);
  const response = await fetch(url, { signal, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (!response.ok) throw problemOf(response.status, await response.text(), null);
  return response.blob();
}
