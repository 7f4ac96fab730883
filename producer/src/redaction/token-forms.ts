/** Forms of the keys and tokens of common services, as the services document them. */

export interface TokenForm {
  readonly rule: string
  /** How such tokens begin, separated by spaces. At least two characters each. */
  readonly prefixes: string
  /**
   * What follows, as a regular expression. A token contains a sequence of at least 20 letters, digits, `_` and `-`, which begins
   * at most 8 characters after the prefix does. A form without an upper bound MUST match whatever follows its least length, or
   * have `start: 'whole'`: else a text of prefixes alone would take quadratic time.
   */
  readonly rest: string
  /**
   * What may stand right in front. 'word': no letter or digit, since the prefix could be part of a word; 'whole': nor `-` and
   * `_`. The letters of an escape may always. @defaultValue 'any'
   */
  readonly start?: 'any' | 'word' | 'whole'
  /** A match must contain a digit: ordinary words may have the form, but no digit. */
  readonly hasDigit?: boolean
}

const END = '(?![A-Za-z0-9])'
const WORDS = String.raw`[\w-]`

export const TOKENS: readonly TokenForm[] = [
  { rule: 'aws_key', prefixes: 'AKIA ASIA ABIA ACCA', rest: `[A-Z0-9]{16}${END}`, start: 'word' },
  { rule: 'aws_key', prefixes: 'ABSK', rest: '[A-Za-z0-9+/]{100,}={0,2}', start: 'word' },
  { rule: 'github_token', prefixes: 'ghp_ gho_ ghu_ ghs_ ghr_ github_pat_', rest: String.raw`\w{22,255}` },
  {
    rule: 'gitlab_token',
    prefixes: 'glpat- gldt- glrt- glcbt- glptt- glft- glffct- glimt- glsoat- gloas- glagent- GR1348941',
    rest: `${WORDS}{20,}(?:\\.[0-9a-z]{9}${END})?`,
  },
  { rule: 'slack_token', prefixes: 'xoxa- xoxb- xoxc- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-', rest: '[A-Za-z0-9-]{15,}' },
  { rule: 'slack_token', prefixes: 'xoxe.xoxb- xoxe.xoxp-', rest: '[A-Za-z0-9-]{15,}' },
  {
    rule: 'stripe_key',
    prefixes: 'sk_live_ sk_test_ rk_live_ rk_test_ pk_live_ pk_test_ whsec_',
    rest: '[A-Za-z0-9]{16,}',
  },
  { rule: 'google_key', prefixes: 'AIza', rest: `${WORDS}{20,}`, start: 'word' },
  { rule: 'google_key', prefixes: 'GOCSPX- ya29.', rest: `${WORDS}{20,}` },
  { rule: 'google_key', prefixes: '1//0', rest: `${WORDS}{40,}`, start: 'word' },
  { rule: 'telegram_token', prefixes: ':AA', rest: `(?<=\\d{8}:AA)${WORDS}{33}(?!${WORDS})` },
  { rule: 'jwt', prefixes: 'eyJ', rest: `${WORDS}{10,}(?:\\.${WORDS}{4,}){1,4}\\.?`, start: 'whole' },
  { rule: 'twilio_key', prefixes: 'SK', rest: `[0-9a-f]{32}${END}`, start: 'word' },
  { rule: 'age_key', prefixes: 'AGE-SECRET-KEY-1', rest: '[A-Z0-9]{40,}' },
  { rule: 'shopify_token', prefixes: 'shpat_ shpca_ shppa_ shpss_', rest: '[A-Fa-f0-9]{32}' },
  { rule: 'atlassian_token', prefixes: 'ATATT3 ATCTT3 ATBB', rest: `[\\w=-]{24,}`, start: 'word' },
  { rule: 'sentry_token', prefixes: 'sntrys_ sntryu_', rest: '[A-Za-z0-9+/=_]{40,}' },
  {
    rule: 'doppler_token',
    prefixes: 'dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.',
    rest: `(?:${WORDS}{2,35}\\.)?[A-Za-z0-9]{40,}`,
  },
  { rule: 'vault_token', prefixes: 'hvs. hvb. hvr.', rest: `${WORDS}{24,}` },
  { rule: 'square_token', prefixes: 'sq0atp- sq0csp- EAAA', rest: `${WORDS}{22,}`, start: 'word', hasDigit: true },
  { rule: 'facebook_token', prefixes: 'EAAB EAAC EAAG EAAM', rest: '[A-Za-z0-9]{80,}', start: 'word' },
  // Of many services: a prefix, then a sequence of random characters.
  { rule: 'api_key', prefixes: 'sk-', rest: `${WORDS}{20,}`, start: 'word', hasDigit: true },
  {
    rule: 'api_key',
    prefixes: 'hf_ npm_ gsk_ api_org_ pnu_ csk- xai- ico- pul- e2b_ vcp_ vci_ vca_ vcr_ vck_',
    rest: '[A-Za-z0-9]{30,}',
    start: 'word',
  },
  { rule: 'api_key', prefixes: 'dapi fc- key- sk_ sqp_ squ_ sqa_', rest: '[0-9a-f]{32,}', start: 'word' },
  {
    rule: 'api_key',
    prefixes: 'r8_ AKCp cmVmd EZAK EZTK oy2 jina_',
    rest: '[A-Za-z0-9]{37,}',
    start: 'word',
    hasDigit: true,
  },
  { rule: 'api_key', prefixes: 'LTAI AQVN API- cio', rest: `[A-Za-z0-9]{20,40}${END}`, start: 'word', hasDigit: true },
  { rule: 'api_key', prefixes: 're_', rest: `[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}`, start: 'word' },
  { rule: 'api_key', prefixes: 'A3-', rest: `[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}(?:-[A-Z0-9]{5}){3}`, start: 'word' },
  { rule: 'api_key', prefixes: 'SG.', rest: `${WORDS}{20,24}\\.${WORDS}{30,}`, start: 'word' },
  { rule: 'api_key', prefixes: 'v1.0-', rest: '[0-9a-f]{24}-[0-9a-f]{146}', start: 'word' },
  { rule: 'api_key', prefixes: 'pat', rest: `[A-Za-z0-9]{14}\\.[0-9a-f]{64}`, start: 'word' },
  { rule: 'api_key', prefixes: 'dt0c01. dt0s01.', rest: '[A-Z0-9]{24}\\.[A-Z0-9]{64}' },
  { rule: 'api_key', prefixes: 'ntn_', rest: '[0-9]{11}[A-Za-z0-9]{35}' },
  { rule: 'api_key', prefixes: 'secret_', rest: `[A-Za-z0-9]{43}${END}` },
  { rule: 'api_key', prefixes: 'glsa_', rest: '[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}' },
  {
    rule: 'api_key',
    prefixes: 'glc_ ops_ fm2_ fm1r_ fm1a_ fo1_ sntrys_',
    rest: '[A-Za-z0-9+/_-]{40,}={0,3}',
    start: 'word',
    hasDigit: true,
  },
  { rule: 'api_key', prefixes: 'pat-na1- pat-eu1-', rest: '[0-9a-f-]{36}' },
  {
    rule: 'api_key',
    prefixes: 'NRAK- NRJS- NRII- NRBR- PMAK- xkeysib- xsmtpsib- CFPAT- HRKU- CCIPAT_ FLWSECK- FLWSECK_TEST-',
    rest: `${WORDS}{19,}`,
  },
  {
    rule: 'api_key',
    prefixes:
      'pypi- tskey- tvly- lsv2_pt_ lsv2_sk_ pscale_tkn_ pscale_pw_ pscale_oauth_ dckr_pat_ dckr_oat_ figd_ nvapi- tgp_v1_ pcsk_ ' +
      'sb_secret_ duffel_live_ duffel_test_ sha256~ .atlasv1. ccipat_',
    rest: `${WORDS}{24,}`,
    hasDigit: true,
  },
  {
    rule: 'api_key',
    prefixes:
      'dop_v1_ doo_v1_ dor_v1_ pplx- lin_api_ lin_oauth_ sbp_ rubygems_ rdme_ sgp_ shippo_live_ shippo_test_ CLOJARS_ bkua_ ' +
      'nfp_ tfp_ napi_ phx_',
    rest: String.raw`\w{30,}`,
    hasDigit: true,
  },
]
