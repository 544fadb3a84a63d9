import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "../../lib/i18n";
import { city } from "../../api/city";
import { queries } from "../../api/queries";
import { Problem } from "../../api/problem";
import type { SignInResult, SiteSettings } from "../../api/types";
import { Button, buttonClass } from "../../components/ui/Button";
import { Dialog } from "../../components/ui/Dialog";
import { TextField } from "../../components/ui/Field";
import { InlineProblem, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { addWidgetCommand, requestOpenIdToken, widgetParameters, type WidgetParameters } from "../../lib/matrixWidget";
import { signInAddress } from "../../lib/session";
import { startExternalSignIn, useSession } from "../../stores/session";
import styles from "./SignInDialog.module.css";

const MAX_NAME_CHARS = 60;

/** The dialog with the city's ways to sign in. Unsent text stays where it is. */
export function SignInDialog() {
  const { t } = useTranslation();
  const { isExpired: hasEnded, setSignInOpen: ask } = useSession();
  return (
    <Dialog title={t("session.title")} onClose={() => ask(false)}>
      <p>{t(hasEnded ? "session.ended" : "session.intro")}</p>
      <SignInWays />
    </Dialog>
  );
}

/** The ways to sign in, once the settings of the city are loaded. */
export function SignInWays() {
  const site = useQuery(queries.site);
  if (site.isPending) return <Skeleton heights={[3, 3]} />;
  if (site.isError) return <ProblemNotice error={site.error} onRetry={() => void site.refetch()} />;
  return <Ways site={site.data} />;
}

function Ways({ site: { sign_in: ways } }: { site: SiteSettings }) {
  const { t } = useTranslation();
  const place = widgetParameters(location.href);
  if (!ways.url && !ways.name && !ways.matrix) return <p className={styles.ways}>{t("session.none")}</p>;
  return (
    <div className={styles.ways}>
      {ways.name && <ByName />}
      {ways.url && <Elsewhere url={ways.url} />}
      {ways.matrix && (place ? <ByWidget place={place} /> : <WidgetHint />)}
    </div>
  );
}

function useSignIn<Input>(prove: (input: Input) => Promise<SignInResult>) {
  const signIn = useSession((state) => state.signIn);
  return useMutation({
    mutationFn: async (input: Input) => {
      const { token } = await prove(input);
      if (!signIn(token)) throw new Problem(0, "sign_in_useless", "the token that came names nobody, or has expired");
    },
  });
}

function ByName() {
  const { t } = useTranslation();
  const [name, setName] = useState("");
  const { mutate, isPending, error } = useSignIn(city.signInWithName);
  return (
    <form
      className={styles.way}
      onSubmit={(event) => {
        event.preventDefault();
        mutate(name.trim());
      }}
    >
      <TextField
        label={t("session.nameLabel")}
        hint={t("session.nameHint")}
        placeholder={t("session.namePlaceholder")}
        autoComplete="nickname"
        maxLength={MAX_NAME_CHARS}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <InlineProblem error={error} />
      <Button variant="main" type="submit" disabled={isPending || !name.trim()}>
        {t("session.enter")}
      </Button>
    </form>
  );
}

function Elsewhere({ url }: { url: string }) {
  const { t } = useTranslation();
  const address = signInAddress(url, location.href);
  return (
    <div className={styles.way}>
      <a className={buttonClass("main")} href={address} onClick={startExternalSignIn}>
        {t("session.away", { host: new URL(address).host })}
      </a>
    </div>
  );
}

/** The nonce is requested first: the city accepts an OpenID token only together with it. */
async function signInByWidget(place: WidgetParameters): Promise<SignInResult> {
  const { nonce } = await city.signInNonce();
  return city.signInWithMatrix({ ...(await requestOpenIdToken(place)), nonce });
}

function ByWidget({ place }: { place: WidgetParameters }) {
  const { t } = useTranslation();
  const { mutate, isPending, error } = useSignIn(signInByWidget);
  return (
    <div className={styles.way}>
      <InlineProblem error={error} />
      <Button variant="main" disabled={isPending} onClick={() => mutate(place)}>
        {t("session.matrix")}
      </Button>
    </div>
  );
}

function WidgetHint() {
  const { t } = useTranslation();
  const [isCopied, setCopied] = useState(false);
  const command = addWidgetCommand(location.origin + (location.pathname.startsWith("/embed/") ? "/" : location.pathname));
  return (
    <div className={styles.way}>
      <strong>{t("session.matrix")}</strong>
      <p className={styles.hint}>{t("session.matrixHint")}</p>
      <p className={styles.command}>
        <code>{command}</code>
        <Button onClick={() => void navigator.clipboard.writeText(command).then(() => setCopied(true))}>
          {t(isCopied ? "session.copied" : "session.copy")}
        </Button>
      </p>
    </div>
  );
}
