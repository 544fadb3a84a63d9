// Polls: the SDK's model, and the results as Element Web counts them.

/** Returns the answers by each voter: the last response of each, without those that the rules call spoiled. */
function votes(poll, responses) {
  const counted = new Map();
  const byTime = responses.getRelations().toSorted((one, other) => one.getTs() - other.getTs());
  for (const event of byTime) {
    const response = event.unstableExtensibleEvent;
    response?.validateAgainst?.(poll.pollEvent);
    counted.set(event.getSender(), response && !response.spoiled ? response.answerIds : []);
  }
  return Object.fromEntries(counted);
}

export const polls = {
  /** Returns question, answers, votes by voter, results by answer, and whether the poll has ended. */
  async poll(current, { room_id, event_id, timeout_ms }) {
    const poll = await current.until(() => current.room(room_id).polls.get(event_id), timeout_ms, `poll ${event_id}`);
    // It returns the first page of responses and goes on loading the others; nothing while the SDK loads them for an event.
    await poll.getResponses();
    await current.until(() => !poll.isFetchingResponses, timeout_ms, `responses to poll ${event_id}`);
    const responses = await poll.getResponses();
    const { question, answers, kind, maxSelections } = poll.pollEvent;
    const byVoter = votes(poll, responses);
    const count = (id) => Object.values(byVoter).filter((chosen) => chosen.includes(id)).length;
    return {
      question: question.text,
      kind: kind.name,
      max_selections: maxSelections,
      answers: answers.map(({ id, text }) => ({ id, text })),
      votes: byVoter,
      results: Object.fromEntries(answers.map(({ id }) => [id, count(id)])),
      ended: poll.isEnded,
    };
  },
};
