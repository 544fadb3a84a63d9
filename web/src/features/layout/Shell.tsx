import { Suspense, useEffect, useRef, type ReactNode } from "react";
import { useTranslation } from "../../lib/i18n";
import { matchPath, NavLink, useLocation, useMatch } from "react-router";
import { lazyDialog } from "../../components/lazyDialog";
import { lazyPage } from "../../components/lazyPage";
import { TextField } from "../../components/ui/Field";
import { Icon, type IconName } from "../../components/ui/Icon";
import { Skeleton } from "../../components/ui/Notice";
import { useUnreadNotifications } from "../../hooks/useUnreadNotifications";
import { usePush } from "../../hooks/usePush";
import { useLiveQueries } from "../../hooks/useLiveQueries";
import { useMediaQuery } from "../../hooks/useMediaQuery";
import { useOwnFace } from "../../hooks/useOwnFace";
import { usePresenceHeartbeat } from "../../hooks/usePresenceHeartbeat";
import { useSite } from "../../hooks/useSite";
import icon from "../../icon.svg";
import { isComposing } from "../../lib/keys";
import { usePalette, usePaletteKey } from "../../stores/palette";
import { useOwnProfile } from "../../stores/ownProfile";
import { useProfileCard } from "../../stores/profileCard";
import { Account } from "../session/Account";
import { useSession } from "../../stores/session";
import { ConnectionBanner } from "./ConnectionBanner";
import { OutboxBanner } from "./OutboxBanner";
import { Preferences } from "./Preferences";
import { usePagePosition } from "./usePagePosition";
import styles from "./Shell.module.css";

const PAGES = [
  { to: "/", key: "home", icon: "home" },
  { to: "/city", key: "rooms", icon: "rooms" },
  { to: "/agents", key: "agents", icon: "agents" },
  { to: "/secondme", key: "secondMe", icon: "me" },
] as const satisfies { to: string; key: string; icon: IconName }[];

const Palette = lazyDialog(() => import("../palette/PaletteOutlet"), EarlyPaletteField);
const ProfileCard = lazyDialog(() => import("../people/ProfileCard"));
const RoomsPane = lazyPage(() => import("../city/rooms/RoomsPane"));
const OwnProfile = lazyDialog(() => import("../people/OwnProfile"));
const SignInDialog = lazyDialog(() =>
  import("../session/SignInDialog").then(({ SignInDialog: Dialog }) => ({ default: Dialog })),
);

/** From this width on, the list of rooms is beside each page of the rooms. */
const HAS_PANE = "(width >= 1100px)";

/** Load the list of rooms if it is beside the page of this path. */
export async function preloadPane(pathname: string): Promise<void> {
  if (matchMedia(HAS_PANE).matches && matchPath("/city/*", pathname)) await RoomsPane.preload();
}

/** The header, navigation, banners and dialogs around every page. */
export function Shell({ children }: { children: ReactNode }) {
  const { t } = useTranslation();
  const site = useSite();
  const { isSignInOpen: isAsking, setSignInOpen, session } = useSession();
  const { pathname } = useLocation();
  const isPaletteOpen = usePalette((state) => state.isOpen);
  const isOwnProfileOpen = useOwnProfile((state) => state.isOpen) && session !== null;
  const cardOf = useProfileCard((state) => state.subject);
  usePaletteKey();
  const isInRooms = useMatch("/city/*") !== null;
  const hasPane = useMediaQuery(HAS_PANE) && isInRooms;
  const main = useFocusOnArrival(pathname);
  usePagePosition(main);
  usePresenceHeartbeat(site.heartbeat_ms, site.away_after_ms);
  useLiveQueries();
  useOwnFace();
  useUnreadNotifications();
  usePush();

  return (
    <div className={`${styles.shell} ${hasPane ? styles.withPane : ""}`}>
      <a className={styles.skip} href="#main">
        {t("nav.skip")}
      </a>
      <header className={styles.header}>
        <NavLink to="/" className={styles.brand ?? ""} aria-label={site.city_name}>
          <img src={icon} alt="" width={30} height={30} />
          {site.city_name}
        </NavLink>
        <nav className={styles.nav} aria-label={t("nav.label")}>
          {PAGES.map((page) => (
            <NavLink key={page.to} to={page.to} end={page.to === "/"}>
              <Icon name={page.icon} />
              {t(`nav.${page.key}`)}
            </NavLink>
          ))}
        </nav>
        <PaletteButton />
        <Preferences />
        <Account />
      </header>
      {/* One row of the grid for any number of banners. */}
      <div className={styles.banners}>
        <ConnectionBanner />
        <OutboxBanner />
      </div>
      {hasPane && (
        <Suspense fallback={<PaneLoading />}>
          <RoomsPane />
        </Suspense>
      )}
      <main id="main" ref={main} className={styles.main} tabIndex={-1}>
        {children}
      </main>
      {isAsking && <SignInDialog onClose={() => setSignInOpen(false)} />}
      {isPaletteOpen && <Palette onClose={usePalette.getState().hide} />}
      {cardOf !== null && <ProfileCard onClose={useProfileCard.getState().hide} />}
      {isOwnProfileOpen && <OwnProfile onClose={useOwnProfile.getState().hide} />}
    </div>
  );
}

/** The button that opens the palette, and shows its keyboard shortcut. */
function PaletteButton() {
  const { t } = useTranslation();
  const show = usePalette((state) => state.show);
  const label = t("palette.title");
  return (
    <button type="button" className={styles.find} aria-label={label} title={label} aria-keyshortcuts="Control+K" onClick={show}>
      <Icon name="search" />
      <span>{t("palette.open")}</span>
      {/* The style sheet renders the keys, so that they are not part of the button's name. */}
      <kbd data-keys={/Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘K" : "Ctrl K"} aria-hidden="true" />
    </button>
  );
}

/** Takes what is typed until the module of the palette is loaded. */
function EarlyPaletteField() {
  const { t } = useTranslation();
  const { early, typeEarly, enterEarly } = usePalette();
  return (
    <div className={styles.early}>
      <TextField
        label={t("palette.title")}
        value={early}
        onChange={({ target }) => typeEarly(target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !isComposing(event)) enterEarly();
        }}
      />
    </div>
  );
}

function PaneLoading() {
  return (
    <div className={styles.paneLoading}>
      <Skeleton heights={[3, 3, 3, 3]} />
    </div>
  );
}

/** Move the focus to the beginning of a page after a navigation, for keyboard and screen reader. */
function useFocusOnArrival(pathname: string) {
  const main = useRef<HTMLElement>(null);
  const shown = useRef(pathname);
  useEffect(() => {
    if (shown.current === pathname) return;
    shown.current = pathname;
    main.current?.focus({ preventScroll: true });
  }, [pathname]);
  return main;
}
