import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "../../lib/i18n";
import { Link, useNavigate } from "react-router";
import { queries } from "../../api/queries";
import type { OnlineCounts, CityHome } from "../../api/types";
import { Button, ButtonLink } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { useSubjectsHere } from "../../hooks/useSubjectsHere";
import { useUnread } from "../../hooks/useUnread";
import { usePageTitle } from "../../hooks/usePageTitle";
import { countOnline, usePresence } from "../../stores/presence";
import { useProfiles } from "../../stores/profiles";
import { useSession } from "../../stores/session";
import { PresenceBar } from "../city/presence/PresenceBar";
import { RoomCards } from "../city/rooms/RoomCards";
import { Feed } from "./Feed";
import styles from "./HomePage.module.css";
import { CityIllustration } from "./CityIllustration";

/** The longest prompt that the city accepts. */
const MAX_PROMPT_CHARS = 8_000;

/** The home page, with live data of the city. */
export default function HomePage() {
  const home = useQuery(queries.home);
  usePageTitle(null);
  useFeedFaces(home.data);
  return (
    <>
      <Hero home={home.data} />
      <SecondMeCall isAvailable={home.data?.second_me.available ?? true} />
      <PresenceBar />
      {home.isPending && <Skeleton heights={[4, 14]} />}
      {home.isError && !home.data && <ProblemNotice error={home.error} onRetry={() => void home.refetch()} />}
      {home.data && <Below home={home.data} />}
    </>
  );
}

function Hero({ home }: { home: CityHome | undefined }) {
  const { t } = useTranslation();
  const counts = useOnlineCounts(home);
  return (
    <section className={styles.hero}>
      <div className={styles.words}>
        <h1>{t(greeting(new Date().getHours()))}</h1>
        <p className={styles.lead}>{t("home.lead")}</p>
        <p className={styles.actions}>
          <ButtonLink to="/city" look="main">
            {t("home.enter")}
          </ButtonLink>
          {counts && (
            <span>
              <strong>
                {t("home.people", { count: counts.citizens + counts.people })} · {t("home.agents", { count: counts.agents })}
              </strong>
              <br />
              {t("home.windowsHint")}
            </span>
          )}
        </p>
      </div>
      <div className={styles.illustration}>
        <CityIllustration litWindows={counts?.total ?? 0} />
      </div>
    </section>
  );
}

function Below({ home }: { home: CityHome }) {
  const { t } = useTranslation();
  const unread = useUnread(home.popular_rooms);
  return (
    <>
      <div className={styles.columns}>
        <section className={styles.section} aria-labelledby="rooms-title">
          <div className={styles.head}>
            <h2 id="rooms-title">{t("home.rooms")}</h2>
            <Link to="/city">{t("home.allRooms")}</Link>
          </div>
          <ul className={styles.rooms}>
            <RoomCards rooms={home.popular_rooms} unread={unread} />
          </ul>
          <Link className={styles.places} to="/places">
            <Icon name="place" /> {t("places.title")}
          </Link>
        </section>
        <section className={styles.section} aria-labelledby="feed-title">
          <div className={styles.head}>
            <h2 id="feed-title">{t("home.feed")}</h2>
          </div>
          <Feed entries={home.feed} />
        </section>
      </div>
    </>
  );
}

/** A field for a question to Second Me, which is answered on the page of Second Me. */
function SecondMeCall({ isAvailable }: { isAvailable: boolean }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const { session, setSignInOpen: signIn } = useSession();
  const [prompt, setPrompt] = useState("");
  const ask = () => void navigate("/secondme", { state: { prompt: prompt.trim() } });
  return (
    <form
      className={styles.me}
      aria-label={t("home.secondMeTitle")}
      onSubmit={(event) => {
        event.preventDefault();
        if (!prompt.trim()) void navigate("/secondme");
        else if (session) ask();
        else signIn(true, ask);
      }}
    >
      <Link className={styles.mirror} to="/secondme" aria-label={t("home.secondMeGo")} title={t("home.secondMeText")}>
        <Icon name="sparkle" size={22} />
      </Link>
      <input
        dir="auto"
        value={prompt}
        maxLength={MAX_PROMPT_CHARS}
        aria-label={t("secondMe.inputLabel")}
        placeholder={t(isAvailable ? "home.secondMeAsk" : "home.secondMeAway")}
        onChange={({ target }) => setPrompt(target.value)}
      />
      <Button variant="main" type="submit">
        {t("secondMe.ask")}
      </Button>
    </form>
  );
}

/** Live counts once the presence snapshot has arrived; until then the counts of the response for Home. */
function useOnlineCounts(home: CityHome | undefined): OnlineCounts | null {
  const here = useSubjectsHere();
  const isKnown = usePresence((state) => state.hasSnapshot);
  return isKnown ? countOnline(here) : (home?.online ?? null);
}

function useFeedFaces(home: CityHome | undefined): void {
  useEffect(() => {
    if (home) useProfiles.getState().addAuthors(home.feed.flatMap(({ actor }) => actor ?? []));
  }, [home]);
}

function greeting(hour: number) {
  if (hour < 5) return "home.greetingNight";
  if (hour < 11) return "home.greetingMorning";
  if (hour < 18) return "home.greetingDay";
  return hour < 23 ? "home.greetingEvening" : "home.greetingNight";
}
