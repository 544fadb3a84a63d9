import { fireEvent, render, screen } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { VoiceMessage } from "./VoiceMessage";

const MEDIA = { duration_ms: 2_000, waveform: [1, 2] };

function shown(src: string) {
  return <VoiceMessage media={MEDIA} src={src} onError={vi.fn()} />;
}

describe("a voice message whose file is loaded again from another URL", () => {
  const played: string[] = [];
  const audio = () => document.querySelector("audio") ?? document.body;

  beforeEach(async () => {
    await initI18n();
    await setLanguage("en");
    played.length = 0;
    vi.spyOn(HTMLMediaElement.prototype, "play").mockImplementation(function (this: HTMLMediaElement) {
      played.push(this.src);
      return this.src.startsWith("blob:") ? Promise.resolve() : Promise.reject(new DOMException("refused", "NotSupportedError"));
    });
    vi.spyOn(HTMLMediaElement.prototype, "pause").mockImplementation(() => undefined);
  });

  it("is played after the click that found it refused", () => {
    const { rerender } = render(shown("https://city/media/1"));
    fireEvent.click(screen.getByRole("button", { name: "Play" }));
    rerender(shown("blob:1"));
    expect(played).toEqual(["https://city/media/1", "blob:1"]);
  });

  it("is not played if the reader did not ask for it, stopped it, or heard it to its end", () => {
    const { rerender } = render(shown("blob:1"));
    rerender(shown("blob:2"));
    expect(played).toEqual([]);
    fireEvent.click(screen.getByRole("button", { name: "Play" }));
    fireEvent.play(audio());
    fireEvent.click(screen.getByRole("button", { name: "Pause" }));
    rerender(shown("blob:3"));
    expect(played).toEqual(["blob:2"]);
    fireEvent.pause(audio());
    fireEvent.click(screen.getByRole("button", { name: "Play" }));
    fireEvent.ended(audio());
    rerender(shown("blob:4"));
    expect(played).toEqual(["blob:2", "blob:3"]);
  });
});
