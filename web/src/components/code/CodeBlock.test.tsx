import { fireEvent, render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../lib/i18n";
import { CodeBlock } from "./CodeBlock";
import { highlight } from "./highlight";

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

describe("a block of code", () => {
  const codeOf = (language: string, code: string) => {
    const { container } = render(<code>{highlight(code, language)}</code>);
    return container.firstElementChild;
  };

  it("shows tokens in colours, and the text unchanged", () => {
    const code = codeOf("python", 'def f(x):\n    return "<b>"  # yes');
    expect(code?.textContent).toBe('def f(x):\n    return "<b>"  # yes');
    expect(code?.querySelectorAll("span[class]").length).toBeGreaterThan(3);
    expect(code?.querySelector("b")).toBeNull();
  });

  it("has no colours in an unknown language", () => {
    expect(highlight("x", "klingon")).toBeNull();
    expect(highlight("x".repeat(20_001), "python")).toBeNull();
  });

  it("is copied as it was written", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    render(<CodeBlock code={"a = 1\n"} language={null} />);
    fireEvent.click(screen.getByRole("button", { name: "Copy the code" }));
    await screen.findByRole("button", { name: "Copied" });
    expect(writeText).toHaveBeenCalledWith("a = 1");
    vi.unstubAllGlobals();
  });
});
