import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { city } from "../../../api/city";
import { Problem } from "../../../api/problem";
import { queries } from "../../../api/queries";
import type { Message, SiteSettings, UrlPreview } from "../../../api/types";
import * as uploads from "../../../api/upload";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { linkToPreview } from "../../../lib/linkToPreview";
import { useLinkPreviews } from "../../../stores/linkPreviews";
import { useSession } from "../../../stores/session";
import { visitorEnvironment } from "../../../testing/roomEnvironment";
import { message, OKSANA, room, settled } from "../../../testing/samples";
import { Preferences } from "../../layout/Preferences";
import { MessageRow } from "./MessageRow";
import { RoomModel } from "./roomModel";
import { RoomContext } from "./useRoom";

const URL_OF_PAGE = "https://example.org/page";
const PREVIEW: UrlPreview = {
  url: URL_OF_PAGE,
  title: "Funicular",
  description: "Between Podil and the upper town",
  site_name: "Encyclopedia",
  image_url: "/city/preview/image?url=x",
};
const SITE = { url_previews: true } as SiteSettings;

let sights: { see: () => void; isObserved: boolean }[] = [];

class FakeSight {
  readonly sight: { see: () => void; isObserved: boolean };
  constructor(onChange: (entries: { isIntersecting: boolean }[]) => void) {
    this.sight = { see: () => act(() => onChange([{ isIntersecting: true }])), isObserved: false };
    sights.push(this.sight);
  }
  observe() {
    this.sight.isObserved = true;
  }
  disconnect() {
    this.sight.isObserved = false;
  }
}

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

beforeEach(() => {
  sights = [];
  vi.stubGlobal("IntersectionObserver", FakeSight);
  useSession.setState({ session: { userId: OKSANA.id, token: "t1", displayName: OKSANA.display_name, expiresAt: Infinity } });
  useLinkPreviews.getState().choose(true);
});

interface Options {
  site?: SiteSettings;
  isEncrypted?: boolean;
  queryClient?: QueryClient;
}

function show(
  changes: Partial<Message> = {},
  { site = SITE, isEncrypted = false, queryClient = new QueryClient() }: Options = {},
) {
  const model = new RoomModel("general", visitorEnvironment());
  model.store.setState({ room: room(1, [], { encrypted: isEncrypted }) });
  queryClient.setQueryData(queries.site.queryKey, site);
  const shown = message(1, { body: `See ${URL_OF_PAGE}.`, ...changes });
  return render(
    <QueryClientProvider client={queryClient}>
      <RoomContext value={model}>
        <MessageRow message={shown} isFirst={false} isActive={false} isFlashed={false} onJump={() => undefined} />
      </RoomContext>
    </QueryClientProvider>,
  );
}

async function seen(): Promise<void> {
  await waitFor(() => expect(sights.some((each) => each.isObserved)).toBe(true));
  for (const each of sights) each.see();
  await settled();
}

describe("the link to preview", () => {
  it.each<[string, string | null]>([
    ["no link", null],
    [`first ${URL_OF_PAGE}, then https://example.com`, URL_OF_PAGE],
    ["http://localhost/ http://127.0.0.1/ http://[::1]/ https://db.internal/ https://example.org:8008/", null],
    ["https://matrix.to/#/@a:b.c", null],
    [`${location.origin}/city/general ${URL_OF_PAGE}`, URL_OF_PAGE],
  ])("in %s is %s", (body, link) => {
    expect(linkToPreview(message(1, { body }))).toBe(link);
  });

  it("is a visible one", () => {
    const hidden = `<span data-mx-spoiler><a href="https://a.org/">a</a></span><pre><code>https://b.org</code></pre>`;
    const html = `${hidden}<a href="${URL_OF_PAGE}?a=1&amp;b=2">c</a>`;
    expect(linkToPreview(message(1, { formatted_body: html }))).toBe(`${URL_OF_PAGE}?a=1&b=2`);
    expect(linkToPreview(message(1, { body: URL_OF_PAGE, deleted: true }))).toBeNull();
  });
});

describe("the card of a link", () => {
  it("is loaded when it comes into view, in its reserved space", async () => {
    const preview = vi.spyOn(city, "preview").mockResolvedValue(PREVIEW);
    const blob = vi.spyOn(uploads, "fetchBlob").mockResolvedValue(new Blob(["x"]));
    const { container } = show();
    await waitFor(() => expect(sights.length).toBe(1));
    const place = container.querySelector<HTMLElement>("[style*='block-size']");
    expect(place?.style.getPropertyValue("block-size")).toBe("6rem");
    expect(preview).not.toHaveBeenCalled();
    await seen();
    const card = await screen.findByRole<HTMLAnchorElement>("link", { name: /Funicular/ });
    expect(card.textContent).toBe("EncyclopediaFunicularBetween Podil and the upper town");
    expect([card.href, card.rel, card.style.getPropertyValue("block-size")]).toEqual([
      URL_OF_PAGE,
      "noopener noreferrer nofollow",
      "6rem",
    ]);
    expect(preview).toHaveBeenCalledWith(URL_OF_PAGE, expect.anything());
    await waitFor(() => expect(card.querySelector("img")?.src).toMatch(/^blob:/));
    expect(blob).toHaveBeenCalledWith(PREVIEW.image_url);
  });

  it("takes no space if the page has none, and requests it once", async () => {
    const preview = vi.spyOn(city, "preview").mockRejectedValue(new Problem(404, "no_preview", "none"));
    const queryClient = new QueryClient();
    for (const time of [1, 2]) {
      const { container, unmount } = show({}, { queryClient });
      if (time === 1) await seen();
      await waitFor(() => expect(container.querySelector("[style*='block-size']")).toBeNull());
      unmount();
    }
    expect(preview).toHaveBeenCalledTimes(1);
  });

  it.each<[string, Options & { isSignedOut?: boolean; isOff?: boolean }]>([
    ["of an encrypted room", { isEncrypted: true }],
    ["in a city without previews", { site: { url_previews: false } as SiteSettings }],
    ["for a reader who is not signed in", { isSignedOut: true }],
    ["for a reader who hides them", { isOff: true }],
  ])("is not shown %s", async (_, { isSignedOut, isOff, ...options }) => {
    if (isSignedOut) useSession.setState({ session: null });
    if (isOff) useLinkPreviews.getState().choose(false);
    const { container } = show({}, options);
    await settled();
    expect(container.querySelector("[style*='block-size']")).toBeNull();
    expect(sights).toEqual([]);
  });
});

describe("the setting of link previews", () => {
  function open(site: SiteSettings): void {
    const queryClient = new QueryClient();
    queryClient.setQueryData(queries.site.queryKey, site);
    render(
      <QueryClientProvider client={queryClient}>
        <Preferences />
      </QueryClientProvider>,
    );
    fireEvent(screen.getByRole("group"), Object.assign(new Event("toggle"), { newState: "open" }));
  }

  it("hides previews", () => {
    open(SITE);
    fireEvent.click(screen.getByRole("radio", { name: "Hide" }));
    expect(useLinkPreviews.getState().isOn).toBe(false);
    expect(localStorage.getItem("city.linkPreviews")).toBe("off");
  });

  it("is absent in a city without previews", () => {
    open({ url_previews: false } as SiteSettings);
    expect(screen.getByRole("radio", { name: "English" })).toBeTruthy();
    expect(screen.queryByRole("radio", { name: "Hide" })).toBeNull();
  });
});
