/** The title of the browser's tab: the page, and the number of rooms that notify the reader (`notifyingRooms`). */

let title = document.title;
let count = 0;

function show(): void {
  document.title = count > 0 ? `(${count}) ${title}` : title;
}

export function setTitle(next: string): void {
  title = next;
  show();
}

export function setTitleCount(next: number): void {
  count = next;
  show();
}
