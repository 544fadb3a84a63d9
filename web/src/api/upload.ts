import { address, currentToken, noteRefusal } from "./http";
import { problemOf, unreachable } from "./problem";
import type { Media } from "./types";

/** Bring a file into the city. fetch() does not tell how much of a body has left. `told` hears from 0 to 1. */
export function upload(file: File, told: (part: number) => void, signal: AbortSignal): Promise<Media> {
  const token = currentToken();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address("/city/media", { filename: file.name }));
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = ({ loaded, total }) => told(total ? loaded / total : 0);
    request.onerror = () => reject(unreachable(new Error("the file did not arrive")));
    request.onabort = () => reject(new DOMException("taken back", "AbortError"));
    request.onload = () => {
      if (request.status < 300) { resolve(JSON.parse(request.responseText) as Media); return; }
      const problem = problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      noteRefusal(problem, token);
      reject(problem);
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** A file that an `<img>` was refused because it sends no token, as an address of this page's own. */
export async function fetchBlobUrl(url: string): Promise<string> {
  const token = currentToken();
  const response = await fetch(url, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
  if (!response.ok) throw problemOf(response.status, await response.text(), null);
  return URL.createObjectURL(await response.blob());
}
