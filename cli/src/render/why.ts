/** The answer of `agent-audit why` for people: a heading, and a tree with a branch for each question. */
import type { Change, DataRead, EventRef, Followed, Why } from '@agent-audit/analytics'
import type { SignatureText } from './signature.ts'
import { counted, dayAndTime, type Paint, shortened, shortId } from './text.ts'
import { type Branch, jsonOf, renderTree, WIDTH, wrap } from './tree.ts'
import { approvalBranch } from './why-approval.ts'

/** Most lines of each list; --json has the rest. */
const SHOWN = { sources: 5, arguments: 12, followed: 12, changes: 5, instructions: 3 }

export function renderWhy(answer: Why, paint: Paint, signatureText: SignatureText): string {
  const heading = [...headingOf(answer)].flatMap((text) => wrap(text, { width: WIDTH, lines: 4 }))
  const [first = '', ...rest] = heading
  const lines = [paint('bold', first), ...rest].map((line) => `${line}\n`).join('')
  return `${lines}\n${renderTree(branchesOf(answer, signatureText))}`
}

function* headingOf({ asked, action, about, belongs, session }: Why): Generator<string> {
  const of = action ?? asked
  const name = [of.event_type, of.tool_name]
    .filter((part) => part !== null)
    .map(shortId)
    .join(' ')
  yield `${name} by agent ${shortId(of.agent_id)}: ${of.outcome === null ? 'no outcome recorded' : shortId(of.outcome)}`
  yield `${dayAndTime(of.timestamp)} UTC, event ${of.event_id}`
  const user = session.user_id === null ? 'no user recorded' : `user ${shortId(session.user_id)}`
  const resumed = session.resumed > 0 ? `, resumed ${counted(session.resumed, 'time')}` : ''
  yield `session ${shortId(session.session_id)}, ${user}, ${counted(session.events, 'event')}${resumed}`
  const { started_by } = session
  if (started_by !== null) {
    const cause = started_by.event_id === null ? '' : ` (agent-audit why ${started_by.event_id})`
    yield `a sub-agent: session ${shortId(started_by.session_id)} started it${cause}`
  }
  if (about === 'trail') yield 'The trail recorded itself here: no action of an agent, and no agent decided it.'
  if (about === 'no_action')
    yield `This ${shortId(asked.event_type)} is no action and belongs to none. What led to it, and what followed:`
  if (belongs !== null && belongs !== 'is')
    yield `The event asked for, ${asked.event_id} (${shortId(asked.event_type)}), belongs to this action.`
}

function branchesOf(answer: Why, signatureText: SignatureText): Branch[] {
  const branches = [reasoningBranch(answer)]
  if (answer.about === 'trail') return [followedBranch(answer.followed), ...notesBranch(answer)]
  if (answer.call !== null) branches.push(callBranch(answer))
  branches.push(circumstancesBranch(answer))
  if (answer.data !== null) branches.push(dataBranch(answer.data))
  if (answer.approval !== null) branches.push(approvalBranch(answer.approval, signatureText))
  return [...branches, followedBranch(answer.followed), ...notesBranch(answer)]
}

function reasoningBranch({ reasoning, call }: Why): Branch {
  const { llm_call: model, decisions, answered } = reasoning
  const below: Branch[] = decisions.map((each) => ({ text: `decision: ${each.reasoning ?? 'without reasoning'}` }))
  if (model === null) below.push({ text: 'no call of the model that led to it is recorded' })
  else {
    below.push({
      text: `model call ${model.event_id}${model.found_by === 'parent_event_id' ? '' : ', found by the id of the call'}`,
    })
    if (model.reasoning !== null) below.push({ text: `its reasoning: ${model.reasoning}` })
    if (model.output_text !== null) below.push({ text: `its text: ${model.output_text}` })
    if (call !== null) below.push({ text: ASKED[model.asked_for ?? 'unknown'] })
    if (model.asked_for === 'other_arguments') below.push({ text: `it asked for ${jsonOf(model.asked_input)}` })
  }
  const said =
    decisions.some((each) => each.reasoning !== null) ||
    (model !== null && (model.reasoning ?? model.output_text) !== null)
  if (!said) below.unshift({ text: 'no reasoning was recorded' })
  below.push({
    text:
      answered === null
        ? 'what it answered is not recorded'
        : `it answered ${nameOf(answered)}: ${answered.text ?? 'no text'}`,
  })
  return { text: 'Reasoning (claimed by the model, no evidence)', below }
}

const ASKED = {
  this_call: 'it asked for exactly this call',
  other_arguments: 'it asked for this tool with other arguments',
  another_call: 'it did not ask for this call',
  unknown: 'whether it asked for this call is not recorded',
}

function callBranch({ call, action }: Why): Branch {
  if (call === null) return { text: 'Call' }
  const more = [
    call.reason === null ? null : `reason: ${call.reason}`,
    call.reason_code === null ? null : `reason code: ${call.reason_code}`,
    call.on_behalf_of === null ? null : `on behalf of ${call.on_behalf_of}`,
    call.idempotency_key === null ? null : `idempotency key ${call.idempotency_key}`,
  ].filter((text) => text !== null)
  const results = call.results.map((result): Branch => {
    const took = result.execution_time_ms === null ? '' : `, ${result.execution_time_ms} ms`
    const said =
      result.error === null
        ? (result.tool_output ?? 'no output recorded')
        : `${result.error_type ?? 'error'}: ${result.error}`
    return {
      text: `result (${result.outcome ?? 'no outcome'}, effect ${result.effect ?? 'not recorded'}${took}): ${said}`,
    }
  })
  const ran = call.executed === null ? 'whether it ran is not recorded' : call.executed ? 'it ran' : 'it did not run'
  const none = call.executed === false ? 'no result: it did not run' : 'no result is recorded'
  const below = [
    { text: `arguments: ${jsonOf(call.tool_input)}` },
    ...more.map((text) => ({ text })),
    ...(results.length === 0 ? [{ text: none }] : [{ text: ran }, ...results]),
  ]
  return { text: `Call: ${action === null ? '' : nameOf(action)}`, below }
}

function circumstancesBranch({ circumstances: facts }: Why): Branch {
  const prompt =
    facts.system_prompt_hash === null
      ? 'system prompt: no hash recorded'
      : `system prompt sha256 ${facts.system_prompt_hash}`
  const text =
    facts.system_prompt_in === null
      ? 'its text is not recorded in this session'
      : `its text is in event ${facts.system_prompt_in}`
  const below: Branch[] = [
    { text: prompt, below: facts.system_prompt_hash === null ? [] : [{ text }] },
    { text: `model ${facts.model_id ?? 'not recorded'}, agent version ${facts.agent_version ?? 'not recorded'}` },
    { text: `policy ${facts.policy === null ? 'not recorded' : jsonOf(facts.policy)}` },
    ...changesOf(facts.changes),
  ]
  return { text: 'Prompt, model, version and policy in force', below }
}

function changesOf(changes: Why['circumstances']['changes']): Branch[] {
  const named: [string, readonly Change[]][] = [
    ['system prompt', changes.system_prompt],
    ['model', changes.model],
    ['version', changes.version],
  ]
  if (named.every(([, list]) => list.length === 0)) return [{ text: 'none of them changed in the session before' }]
  return named.flatMap(([what, list]) =>
    list.slice(-SHOWN.changes).map(({ before, value, timestamp, event_id }) => ({
      text: `the ${what} changed at ${timestamp.slice(11, 19)} from ${shortened(before ?? '', 20)} to ${shortened(value, 20)} (${event_id})`,
    })),
  )
}

const VERDICTS = {
  untrusted: 'ONLY from what tools returned',
  trusted_tool: 'from a tool that the agent recorded as trusted',
  person_or_prompt: 'from a person or the prompt',
  model_only: 'from no recorded text: made by the model',
}

function dataBranch({ sources, sources_total: total, arguments: traced }: DataRead): Branch {
  const order = ['untrusted', 'model_only', 'trusted_tool', 'person_or_prompt']
  const sorted = traced.toSorted((one, other) => order.indexOf(one.verdict) - order.indexOf(other.verdict))
  const values = sorted.slice(0, SHOWN.arguments).map(({ path, value, verdict, origins }): Branch => {
    const from =
      verdict === 'untrusted'
        ? `: ${origins
            .filter(({ where }) => where === 'tool_output')
            .map((each) => each.tool_name ?? each.event_id)
            .join(', ')}`
        : ''
    return { text: `${path} = ${shortened(value, 60)}: ${VERDICTS[verdict]}${from}`, lines: 2 }
  })
  const hidden = sorted.length - values.length
  const below: Branch[] = [
    {
      text: `arguments, where each came from (${traced.length})`,
      below: [...values, ...(hidden > 0 ? [{ text: `… ${hidden} more (--json)` }] : [])],
    },
    {
      text: total === 0 ? 'it had read no result of a tool before' : `results of tools read before (${total})`,
      below: sources.slice(0, SHOWN.sources).map(sourceBranch),
    },
  ]
  if (traced.length === 0) below[0] = { text: 'it has no arguments to look for' }
  if (total > SHOWN.sources)
    below.push({
      text: `… ${counted(total - SHOWN.sources, 'more result')} (--json has ${total > sources.length ? 'some' : 'all'})`,
    })
  return { text: 'Data read before', below }
}

function sourceBranch(source: DataRead['sources'][number]): Branch {
  const { untrusted, gave, instructions, characters } = source
  const trust = untrusted === null ? 'not marked, so untrusted' : untrusted ? 'untrusted' : 'recorded as trusted'
  const from = source.source === null ? '' : ` from ${source.source}`
  const below: Branch[] = gave.length === 0 ? [] : [{ text: `holds ${gave.join(', ')}`, lines: 2 }]
  for (const { quote, reason } of instructions.slice(0, SHOWN.instructions))
    below.push({ text: `LOOKS LIKE AN INSTRUCTION (${reason}): ${quote}`, lines: 3 })
  if (instructions.length > SHOWN.instructions)
    below.push({ text: `… ${instructions.length - SHOWN.instructions} more such passages (--json)` })
  return { text: `${nameOf(source)}${from}, ${counted(characters, 'character')}, ${trust} (${source.event_id})`, below }
}

function followedBranch({ events, sub_sessions }: Followed): Branch {
  const shown = events.slice(0, SHOWN.followed).map(({ relation, caused, text, ...event }) => ({
    text: `${event.timestamp.slice(11, 19)} ${relation.replace('_', ' ')}${caused ? '' : ' (later in the session)'}: ${nameOf(event)}${event.outcome === null ? '' : `, ${event.outcome}`}${text === null ? '' : `: ${text}`}`,
    lines: 2,
  }))
  const subs = sub_sessions.map((each) => ({
    text: `sub-agent ${each.agent_id} in session ${each.session_id} (agent-audit why ${each.event_id})`,
    lines: 2,
  }))
  const hidden = events.length - shown.length
  const below = [...shown, ...(hidden > 0 ? [{ text: `… ${counted(hidden, 'more event')} (--json)` }] : []), ...subs]
  return { text: 'What followed', below: below.length === 0 ? [{ text: 'nothing that is recorded' }] : below }
}

function notesBranch({ notes }: Why): Branch[] {
  return notes.length === 0 ? [] : [{ text: 'Limits of this answer', below: notes.map((text) => ({ text })) }]
}

function nameOf({ event_type, tool_name }: EventRef): string {
  return tool_name === null ? event_type : `${event_type} ${tool_name}`
}
