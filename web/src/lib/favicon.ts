const SIZE = 64;

/** Show the icon of the page with or without a dot. */
export async function showDotOnIcon(hasDot: boolean): Promise<void> {
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  if (!link) return;
  link.dataset.plain ??= link.href;
  const plain = link.dataset.plain;
  link.href = hasDot ? ((await withDot(plain)) ?? plain) : plain;
}

async function withDot(href: string): Promise<string | null> {
  const image = new Image(SIZE, SIZE);
  image.src = href;
  await image.decode().catch(() => undefined);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const context = canvas.getContext("2d");
  if (!context) return null;
  context.drawImage(image, 0, 0, SIZE, SIZE);
  context.beginPath();
  context.arc(SIZE - 16, 16, 15, 0, 2 * Math.PI);
  context.fillStyle = "#d92d20";
  context.fill();
  context.lineWidth = 4;
  context.strokeStyle = "#fff";
  context.stroke();
  return canvas.toDataURL("image/png");
}
