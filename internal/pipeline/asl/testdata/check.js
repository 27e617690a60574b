// Reads documents from standard input, a JSON array, and writes what
// asl-validator and statelint find wrong with each: an array of arrays.
const fs = require('fs')
const { createRequire } = require('module')
const load = createRequire(process.argv[2] + '/')
const validate = load('asl-validator')
const { StateLint } = load('@wmfs/statelint')

const findings = JSON.parse(fs.readFileSync(0, 'utf8')).map(text => {
  const found = []
  // It writes into what it is given.
  const { isValid, errorsText } = validate(JSON.parse(text), { checkPaths: true, checkArn: true })
  if (!isValid) found.push('asl-validator: ' + errorsText('; '))
  // One linter remembers the names of the states it has seen.
  for (const problem of new StateLint().validate(JSON.parse(text))) found.push('statelint: ' + problem)
  return found
})
process.stdout.write(JSON.stringify(findings))
