/** The title of the browser's tab: the page, and the number of rooms that call for the reader (see `callingRooms`). */

let title = document.title;
let calls = 0;

function show(): void {
  document.title = calls > 0 ? `(${calls}) ${title}` : title;
}

export function setTitle(next: string): void {
  title = next;
  show();
}

export function setCalls(next: number): void {
  calls = next;
  show();
}
