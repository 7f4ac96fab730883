/** Secrets under a name, as shells, code, configurations, logs and headers write them, and texts that look like them. */
import { some } from './random.ts'
import type { Case } from './tokens.ts'

/** `%s` is the secret. */
const FORMS: Readonly<Record<string, string>> = {
  shell: [
    'PASSWORD=%s',
    'export DB_PASSWORD=%s',
    'PASSWORD_1=%s',
    'API_KEY="%s" node main.js',
    "SECRET_KEY='%s'",
    'env -i OPENAI_API_KEY=%s python run.py',
    'curl -u bob:%s https://example.com/x',
    'curl --user "bob:%s" https://example.com/x',
    'curl -H "X-Api-Key: %s" https://example.com',
    "curl -H 'Authorization: Bearer %s' https://example.com",
    'curl -sS -H "Cookie: sid=%s" https://example.com',
    'mysql --password %s -h db',
    'mysql --password=%s -h db',
    'mysql -u root -p%s shop',
    'sshpass -p %s ssh ann@host',
    "sshpass -p '%s' scp a b",
    'docker login -u ann -p %s registry.example.com',
    'redis-cli -h db -a %s ping',
    'tool --api-key %s --verbose',
    'tool --client-secret "%s"',
    'tool --token\t%s',
    'wget --header="Authorization: Basic %s" https://example.com',
    'ldapsearch -x -D cn=admin -w %s',
  ].join('\n'),
  code: [
    'password := "%s"',
    "'password' => '%s'",
    "password=b'%s'",
    'const apiKey = `%s`',
    'settings["api_key"] = "%s"',
    "os.environ['SECRET_KEY'] = '%s'",
    'let password2: "%s"',
    'privateKeyPem: "%s"',
    'client.password = "%s";',
    'if password == "%s":',
    'db_password = r"%s"',
    '<password>%s</password>',
    '<db:password>%s</db:password>',
  ].join('\n'),
  data: [
    '{"password":"%s","n":1}',
    '{"a":{"client_secret" : "%s"}}',
    String.raw`{\"apiKey\":\"%s\",\"n\":1}`,
    String.raw`{\\\"apiKey\\\":\\\"%s\\\"}`,
    "{'token': '%s'}",
    'password: %s # prod',
    'password:%s',
    'Token: %s was issued',
    'secret: |§  %s§user: ann',
    '"password"§: "%s"',
    'PASSWORD§\t= %s',
    'PASSWORD\t=\t%s',
    'password            = %s',
    'Server=db;Password=%s;Encrypt=1',
    'DefaultEndpointsProtocol=https;AccountKey=%s;EndpointSuffix=core',
    'user=ann; session_token=%s; theme=dark',
  ].join('\n'),
  web: [
    '?q=1&access_token=%s&page=2',
    'https://blob.example.com/c?sv=2020&sig=%s&se=2',
    'https://bucket.example.com/k?X-Amz-Date=2&X-Amz-Signature=%s',
    'grant_type=password&password=%s',
    'password%3D%s',
    'a%26password%3D%s%26b',
    '%7B%22password%22%3A%22%s%22%7D',
    String.raw`password\u003d%s`,
    'Authorization: Basic %s',
    'Proxy-Authorization: Digest username="ann", response="%s"',
    'Cookie: theme="dark"; sid=%s',
    '< Set-Cookie: id=%s; Secure',
    'X-Auth-Token: %s',
    'postgres://app:%s@db:5432/shop',
    'postgres://app:p@%s@db/shop',
    'amqp://guest:%s@mq',
  ].join('\n'),
}

/** Characters after which a value was cut once. */
const TAILS = ['', '&', ',', ';', '@', "'", '%']

function fill(form: string, secret: string): string {
  return form.replaceAll('§', '\n').replace('%s', () => secret)
}

/** Each form with two values: letters and digits alone, and with a delimiter where the form allows one. */
export const NAMED_HITS: readonly Case[] = Object.entries(FORMS).flatMap(([rule, lines]) =>
  lines.split('\n').flatMap((form, index) => {
    const plain = some(14)
    const tail = TAILS[index % TAILS.length] ?? ''
    const isFree = /^(?:PASSWORD|export)[^"']*%s$/.test(form)
    const secret = isFree ? `${some(7)}${tail}${some(9)}` : some(21)
    return [plain, secret].map((value) => ({ rule, secret: value, text: fill(form, value) }))
  }),
)

/** Values with delimiters, whole. */
export const DELIMITED_HITS: readonly Case[] = [
  '&',
  ',',
  ';',
  '@',
  "'",
  '%',
  '!',
  '#',
  '$',
  '(',
  '=',
  ':',
  '/',
  '+',
  '~',
  '*',
].flatMap((delimiter) =>
  ['PASSWORD=', 'password = ', 'secret: ', 'mysql --password='].map((before) => {
    const secret = `${some(6)}${delimiter}${some(8)}`
    return { rule: 'delimiter', secret, text: before + secret }
  }),
)

/** Long values: no bound leaves a tail. */
export const LONG_HITS: readonly Case[] = [
  ['Cookie: a=', '; sid='],
  ['password="', ' '],
  ["{'api_key': '", ' '],
  ['SECRET=', '&'],
].map(([before = '', between = '']) => {
  const secret = some(12)
  return { rule: 'long', secret, text: `${before}${'x'.repeat(20_000)}${between}${secret}` }
})

const LOOK_ALIKE_LINES = `
The password is wrong.
Your token: it has 12 parts.
Please reset your password: use the link below.
She forgot her passphrase again
a bearer authentication-of-some-kind is needed
The cookie crumbled; the secret was out
max_tokens=4096
input_tokens: 1200
next_page_token=abcdef12
pad_token = 12345
"has_password":true
password: null
password=None
token: undefined
"secret":null
secret = false
api_key: ""
password=$PASSWORD
password: \${DB_PASSWORD}
token={{ vault.token }}
--password is required
the --token option
--password-stdin
--token-file /run/secrets/x
password: string
token: number,
password = getpass.getpass()
const token = await login()
apiKey: process.env.API_KEY
secret = os.environ["SECRET"]
password::check(user)
secret://vault/path
auth::login
auth:1.10.2
<password></password>
<passwordHint>blue</passwordHint>
curl -u ann https://example.com
docker run -u 1000:1000 image
docker run -p 8080:80 image
ls -u && sort -u names.txt
mysql -p shop
tar -pxzf archive.tgz
git push -u origin main
monkey=banana12
keyboard: qwerty12
compass=north-12
bypass = "x12345"
author: ann12345
authors=ann,bob
authority: court2024
tokenizer = gpt2-large
passenger: John12345
passengers=[{"name":"ann"}]
passport_number=X1234567
surpass=12345
secretary: ann2024x
secretariat=unit42aa
cookiecutter=v2.1.0x
key=abcdefgh12
primary_key=order_id1
sort_key=created_at9
keyword: summer2024
https://example.com:8443/a/b@c?d=e
https://example.com/@ann/posts
git@github.com:ann/repo.git
mailto:ann@example.com
http://localhost:3000/x
time: 12:30:45
ratio: 16:9
signature=abcdef12
design=flat2024
assign=ann12345
config=prod12345
task-management-system-design-document
risk-assessment-of-the-project-2024
desk-reservation-system-number-12345
sk-learn-and-other-long-hyphenated-words
npm_config_registry_fetch_retries_2
npm_package_dependencies_kafkajs
toolu_01A09q90qw90lq917835lq9
550e8400-e29b-41d4-a716-446655440000
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
-----BEGIN CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
https://hooks.example.com/services/T000/B000/abcdefghijklmnopqrstuvwx
N-a-long-file-name-with-parts.config.production-environment-settings-file
reservation_id: ZFA04Y
user_id=mia_li_3668
payment_method: credit_card_4421486
`

export const NAMED_LOOK_ALIKES: readonly Omit<Case, 'secret'>[] = LOOK_ALIKE_LINES.trim()
  .split('\n')
  .map((text) => ({ rule: 'names', text }))
