import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Route, Routes, useLocation, useNavigate, useParams } from "react-router";
import { queries } from "../../api/queries";
import type { Room } from "../../api/types";
import { Button, buttonClass } from "../../components/ui/Button";
import { Dialog } from "../../components/ui/Dialog";
import { lazyDialog } from "../../components/lazyDialog";
import { Notice } from "../../components/ui/Notice";
import { useLiveQueries } from "../../hooks/useLiveQueries";
import { usePageTitle } from "../../hooks/usePageTitle";
import { usePresenceHeartbeat } from "../../hooks/usePresenceHeartbeat";
import { useOwnFace } from "../../hooks/useOwnFace";
import { useSite } from "../../hooks/useSite";
import { useUnread } from "../../hooks/useUnread";
import { useTranslation } from "../../lib/i18n";
import { useProfileCard } from "../../stores/profileCard";
import { useSession } from "../../stores/session";
import styles from "./Embed.module.css";
import { EmbedRoom } from "./EmbedRoom";
import { Host } from "./host";
import { applyAccent, embedParameters } from "./parameters";
import { listenForToken, openSignInWindow, signInPath } from "./signInWindow";
import { SignInWindow } from "./SignInWindow";

const ProfileCard = lazyDialog(() => import("../people/ProfileCard"));

/** The highest count on the button of `widget.js`. */
const MAX_COUNT = 99;

/** The room of the frame. */
const home = location.pathname;
/** The parameters of the first URL: later URLs of the document, as of a thread, do not contain them. */
const parameters = embedParameters(location.href);
const host = parameters.hostOrigin !== null && parent !== window ? new Host(parameters.hostOrigin) : null;
if (parameters.accent !== null) applyAccent(parameters.accent);

/**
 * The document of a frame on another site: one room, and a window to sign in.
 *
 * Other sites may embed this document but not the other pages, so links to those open a new tab.
 */
export default function EmbedApp() {
  useLinksInNewTab();
  return (
    <Routes>
      <Route path="/embed/sign-in" element={<SignInWindow />} />
      <Route path="/embed/:slug" element={<Chat />} />
      <Route path="*" element={<Outside />} />
    </Routes>
  );
}

function Chat() {
  const { slug = "" } = useParams();
  const site = useSite();
  const isShown = useIsShown();
  const cardOf = useProfileCard((state) => state.subject);
  usePresenceHeartbeat(site.heartbeat_ms, site.away_after_ms);
  useLiveQueries();
  useOwnFace();
  useEscape(isShown);
  useReport(slug);
  return (
    <div className={styles.chat}>
      {isShown && <EmbedRoom key={slug} slug={slug} onClose={host && (() => host.close())} />}
      <SignIn />
      {cardOf !== null && <ProfileCard onClose={useProfileCard.getState().hide} />}
    </div>
  );
}

/** Whether the page around the frame shows the chat: a closed conversation is not marked as read. */
function useIsShown(): boolean {
  const [isShown, setShown] = useState(host === null);
  useEffect(() => host?.onShown(setShown), []);
  return isShown;
}

/** Escape closes the chat, unless something in the chat handles it. */
function useEscape(isShown: boolean): void {
  useEffect(() => {
    if (!isShown || !host) return undefined;
    const press = (event: KeyboardEvent) => {
      const isBusy = document.querySelector(":popover-open, dialog[open]") !== null;
      if (event.key === "Escape" && !event.defaultPrevented && !event.isComposing && !isBusy) host.close();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [isShown]);
}

const NO_ROOMS: readonly Room[] = [];

/** Send the state of the chat to the page around the frame, for its button. */
function useReport(slug: string): void {
  const { t, language } = useTranslation();
  const { data: rooms } = useQuery(queries.roomsOf([slug]));
  const room = rooms?.[0];
  const unread = useUnread(rooms ?? NO_ROOMS).get(room?.id ?? "") ?? 0;
  const name = room?.name ?? t("embed.chat");
  const isLit = (room?.members_online ?? 0) > 0;
  usePageTitle(name);
  useEffect(() => {
    if (!host || rooms === undefined) return;
    const open = unread > 0 ? t("embed.openUnread", { name, count: unread }) : t("embed.open", { name });
    const count = unread > MAX_COUNT ? `${MAX_COUNT}+` : unread > 0 ? String(unread) : "";
    const [accent, onAccent] = [computedColor("--clay"), computedColor("--on-clay")];
    host.report({ title: name, labels: [open, t("embed.close", { name })], unread: count, isLit, accent, onAccent });
  }, [t, language, rooms, name, unread, isLit]);
}

/** The computed value of a custom property, as a colour that another document understands. */
function computedColor(property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Opens the sign-in window of the city; a dialog with a link if the browser blocks the window. */
function SignIn() {
  const { t } = useTranslation();
  const [isBlocked, setBlocked] = useState(false);
  // Opened within the click: browsers block other windows. `afterSignIn` stays set, and runs after the sign-in.
  useEffect(
    () =>
      useSession.subscribe(({ isSignInOpen: isAsked }) => {
        if (!isAsked) return;
        setBlocked(!openSignInWindow());
        useSession.setState({ isSignInOpen: false });
      }),
    [],
  );
  useEffect(
    () =>
      listenForToken((token) => {
        setBlocked(false);
        useSession.getState().signIn(token);
      }),
    [],
  );
  if (!isBlocked) return null;
  return (
    <Dialog title={t("session.title")} onClose={() => setBlocked(false)}>
      <p>{t("embed.elsewhere")}</p>
      {/* The window hands the token over to its opener. */}
      <a className={buttonClass("main")} href={signInPath} target="_blank" rel="opener" onClick={() => setBlocked(false)}>
        {t("session.signIn")}
      </a>
    </Dialog>
  );
}

/** Shown when a component has navigated to another page of the city. */
function Outside() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const { pathname, search } = useLocation();
  return (
    <main className={styles.window}>
      <Notice icon="elsewhere">
        <h1>{t("embed.outside")}</h1>
        <a className={buttonClass("main")} href={pathname + search} target="_blank" rel="noopener">
          {t("embed.openCity")}
        </a>
        <Button onClick={() => void navigate(home)}>{t("embed.back")}</Button>
      </Notice>
    </main>
  );
}

/** Open links to other pages in a new tab, before the router follows them in the frame. */
function useLinksInNewTab(): void {
  useEffect(() => {
    if (parent === window) return undefined;
    const follow = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a[href]") : null;
      if (!link || link.target === "_blank" || link.hasAttribute("download") || event.defaultPrevented) return;
      if (link.pathname === location.pathname && link.origin === location.origin) return;
      event.preventDefault();
      event.stopPropagation();
      open(link.href, "_blank", "noopener");
    };
    document.addEventListener("click", follow, { capture: true });
    return () => document.removeEventListener("click", follow, { capture: true });
  }, []);
}
