/** Tokens by the rule that finds them, and texts that look like them. */
import { DIGITS, HEX, LETTERS_DIGITS, some, UPPER_DIGITS, WORD } from './random.ts'

/** Rule, beginning, then the parts that follow: a number of characters of an alphabet, or a text. */
type Spec = readonly [rule: string, beginnings: string, ...parts: readonly (readonly [number, string] | string)[]]

const SPECS: readonly Spec[] = [
  ['aws_key', 'AKIA ASIA ABIA ACCA', [16, UPPER_DIGITS]],
  ['aws_key', 'ABSKQmVkcm9ja0FQSUtleS', [110, LETTERS_DIGITS]],
  ['github_token', 'ghp_ gho_ ghu_ ghs_ ghr_', [36, LETTERS_DIGITS]],
  ['github_token', 'github_pat_', [22, LETTERS_DIGITS], '_', [59, LETTERS_DIGITS]],
  ['gitlab_token', 'glpat- gldt- glrt- glcbt- glptt- glft- glffct- glimt- glsoat- GR1348941', [20, WORD]],
  ['gitlab_token', 'gloas-', [64, HEX]],
  ['gitlab_token', 'glagent-', [50, WORD]],
  ['slack_token', 'xoxb- xoxp- xoxa- xoxr- xoxs- xoxo-', [12, DIGITS], '-', [12, DIGITS], '-', [24, LETTERS_DIGITS]],
  ['slack_token', 'xapp-1-A', [10, UPPER_DIGITS], '-', [13, DIGITS], '-', [64, HEX]],
  ['slack_token', 'xoxe.xoxp-1- xoxe.xoxb-1-', [120, LETTERS_DIGITS]],
  ['slack_token', 'xoxd-', [8, LETTERS_DIGITS], '%2F', [40, LETTERS_DIGITS], '%3D'],
  ['stripe_key', 'sk_live_ sk_test_ rk_live_ rk_test_', [24, LETTERS_DIGITS]],
  ['stripe_key', 'whsec_', [32, LETTERS_DIGITS]],
  ['google_key', 'AIza', [35, WORD]],
  ['google_key', 'GOCSPX-', [28, WORD]],
  ['google_key', 'ya29.', [90, WORD]],
  ['google_key', '1//0', [60, WORD]],
  ['jwt', 'eyJ', [33, LETTERS_DIGITS], '.eyJ', [50, LETTERS_DIGITS], '.', [43, WORD]],
  ['twilio_key', 'SK', [32, HEX]],
  ['age_key', 'AGE-SECRET-KEY-1', [58, 'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L']],
  ['shopify_token', 'shpat_ shpca_ shppa_ shpss_', [32, HEX]],
  ['atlassian_token', 'ATATT3xFfGF0', [180, WORD]],
  ['atlassian_token', 'ATBB', [24, LETTERS_DIGITS], [8, UPPER_DIGITS]],
  ['sentry_token', 'sntryu_', [64, HEX]],
  ['sentry_token', 'sntrys_eyJpYXQiO', [120, LETTERS_DIGITS], '_', [43, LETTERS_DIGITS]],
  ['doppler_token', 'dp.pt. dp.ct. dp.sa. dp.scim. dp.audit. dp.st.prd.', [43, LETTERS_DIGITS]],
  ['vault_token', 'hvs.', [95, WORD]],
  ['vault_token', 'hvb. hvr.', [150, WORD]],
  ['square_token', 'sq0atp-', [22, WORD]],
  ['square_token', 'sq0csp-', [43, WORD]],
  ['facebook_token', 'EAAB EAAC EAAG EAAM', [140, LETTERS_DIGITS]],
  ['api_key', 'sk-proj- sk-svcacct-', [74, WORD]],
  ['api_key', 'sk-ant-api03- sk-ant-admin01-', [93, WORD], 'AA'],
  ['api_key', 'sk-', [48, LETTERS_DIGITS]],
  ['api_key', 'sk-or-v1-', [64, HEX]],
  ['api_key', 'hf_ api_org_', [34, LETTERS_DIGITS]],
  ['api_key', 'npm_ pnu_', [36, LETTERS_DIGITS]],
  ['api_key', 'gsk_', [52, LETTERS_DIGITS]],
  ['api_key', 'xai-', [80, LETTERS_DIGITS]],
  ['api_key', 'pplx-', [48, LETTERS_DIGITS]],
  ['api_key', 'csk-', [48, LETTERS_DIGITS]],
  ['api_key', 'r8_', [37, LETTERS_DIGITS]],
  ['api_key', 'lin_api_ lin_oauth_', [40, LETTERS_DIGITS]],
  ['api_key', 'ntn_', [11, DIGITS], [35, LETTERS_DIGITS]],
  ['api_key', 'secret_', [43, LETTERS_DIGITS]],
  ['api_key', 'glsa_', [32, LETTERS_DIGITS], '_', [8, HEX]],
  ['api_key', 'glc_eyJvIjoi', [100, LETTERS_DIGITS]],
  ['api_key', 'tskey-auth-k tskey-api-k tskey-client-k', [11, LETTERS_DIGITS], 'CNTRL-', [32, LETTERS_DIGITS]],
  ['api_key', 'sbp_', [40, HEX]],
  ['api_key', 'sb_secret_', [31, WORD]],
  ['api_key', 'dckr_pat_ dckr_oat_', [27, WORD]],
  ['api_key', 'NRAK-', [27, UPPER_DIGITS]],
  ['api_key', 'PMAK-', [24, HEX], '-', [34, HEX]],
  ['api_key', 'figd_', [40, WORD]],
  ['api_key', 'pscale_tkn_ pscale_pw_ pscale_oauth_', [43, WORD]],
  ['api_key', 'lsv2_pt_ lsv2_sk_', [32, HEX], '_', [10, HEX]],
  ['api_key', 'tvly- tvly-dev-', [32, LETTERS_DIGITS]],
  ['api_key', 'rubygems_', [48, HEX]],
  ['api_key', 'dop_v1_ doo_v1_ dor_v1_', [64, HEX]],
  ['api_key', 'dapi fc- key- sqp_ squ_', [40, HEX]],
  ['api_key', 'sk_', [48, HEX]],
  ['api_key', 'pypi-AgEIcHlwaS5vcmc', [90, WORD]],
  ['api_key', 'SG.', [22, WORD], '.', [43, WORD]],
  ['api_key', 'pat', [14, LETTERS_DIGITS], '.', [64, HEX]],
  ['api_key', 'pat-na1-', [8, HEX], '-', [4, HEX], '-', [4, HEX], '-', [4, HEX], '-', [12, HEX]],
  ['api_key', 'dt0c01.', [24, UPPER_DIGITS], '.', [64, UPPER_DIGITS]],
  ['api_key', 'xkeysib-', [64, HEX], '-', [16, LETTERS_DIGITS]],
  ['api_key', 'shippo_live_ shippo_test_', [40, HEX]],
  ['api_key', 'CLOJARS_', [60, LETTERS_DIGITS]],
  ['api_key', 'rdme_', [70, LETTERS_DIGITS]],
  ['api_key', 'sgp_', [40, HEX]],
  ['api_key', 'pul-', [40, HEX]],
  ['api_key', 'duffel_live_ duffel_test_', [43, WORD]],
  ['api_key', 'nvapi-', [64, WORD]],
  ['api_key', 'pcsk_', [70, LETTERS_DIGITS]],
  ['api_key', 'jina_', [60, LETTERS_DIGITS]],
  ['api_key', 'HRKU-AA', [58, WORD]],
  ['api_key', 'AKCp', [69, LETTERS_DIGITS]],
  ['api_key', 'EZAK EZTK', [54, LETTERS_DIGITS]],
  ['api_key', 'LTAI', [20, LETTERS_DIGITS]],
  ['api_key', 'oy2', [43, LETTERS_DIGITS]],
  ['api_key', 'fo1_', [43, WORD]],
  ['api_key', 're_', [8, LETTERS_DIGITS], '_', [24, LETTERS_DIGITS]],
  [
    'api_key',
    'A3-',
    [6, UPPER_DIGITS],
    '-',
    [6, UPPER_DIGITS],
    '-',
    [5, UPPER_DIGITS],
    '-',
    [5, UPPER_DIGITS],
    '-',
    [5, UPPER_DIGITS],
    '-',
    [5, UPPER_DIGITS],
  ],
  ['api_key', 'API-', [26, UPPER_DIGITS]],
  ['api_key', 'ops_eyJ', [260, LETTERS_DIGITS]],
]

export interface Case {
  readonly rule: string
  readonly text: string
  /** What must not be recorded. */
  readonly secret: string
}

/** Each kind alone, and where agents see it: behind colour codes, escapes of URLs and JSON, in code and in logs. */
const PLACES: readonly ((token: string) => string)[] = [
  (token) => token,
  (token) => `\u001B[32m${token}\u001B[0m`,
  (token) => `next=https%3A%2F%2Fx%3Fk%3D${token}`,
  (token) => String.raw`{"html":"\u003e${token}"}`,
  (token) => String.raw`'\x3e${token}'`,
  (token) => `found:\n  - ${token}\n`,
  (token) => String.raw`line\n${token}\tend`,
]

function make([rule, beginnings, ...parts]: Spec): Case[] {
  return beginnings.split(' ').map((beginning) => {
    const body = parts.map((part) => (typeof part === 'string' ? part : some(...part))).join('')
    return { rule, text: '', secret: beginning + body }
  })
}

export const TOKEN_HITS: readonly Case[] = SPECS.flatMap(make).flatMap(({ rule, secret }, index) =>
  // Each token at two places: the first alone, the second in turn.
  [PLACES[0], PLACES[1 + (index % (PLACES.length - 1))]].map((place) => ({
    rule,
    secret,
    text: place?.(secret) ?? '',
  })),
)

/** Texts with the beginning of a token and another form: too short, part of a word, without a digit, other characters. */
export const TOKEN_LOOK_ALIKES: readonly Omit<Case, 'secret'>[] = SPECS.flatMap(([rule, beginnings]) =>
  beginnings.split(' ').flatMap((beginning) => [
    { rule, text: `tokens of this kind begin with ${beginning}` },
    { rule, text: `${beginning}short` },
  ]),
)
