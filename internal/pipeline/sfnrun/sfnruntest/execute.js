// Executes documents as Step Functions does, by aws-local-stepfunctions. The first
// line of standard input has the documents by the ARNs of their state machines and
// where tasks are answered; each other one starts an execution. A line of standard
// output tells how one ended.
const { createRequire } = require('module')
const readline = require('readline')
// The interpreter wants a newer Node.js than many have.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((a, b) => { resolve = a; reject = b })
  return { promise, resolve, reject }
}
const { StateMachine } = createRequire(process.argv[2] + '/')('aws-local-stepfunctions')

let setup

function named (name, message) {
  const error = new Error(message)
  error.name = name
  return error
}

// answer asks what stands for AWS to carry a task out.
async function answer (resource, input) {
  const response = await fetch(setup.url, { method: 'POST', headers: { 'X-Resource': resource }, body: JSON.stringify(input) })
  const text = await response.text()
  if (response.status === 200) return JSON.parse(text)
  // A function's error arrives as its type and, as text, all that it said.
  const failed = JSON.parse(text)
  throw named(failed.errorType, failed.cause ?? text)
}

async function execute (arn, name, input) {
  const definition = JSON.parse(setup.documents[arn])
  const handlers = {}
  const intervals = {}
  const waits = {}
  const entered = []
  for (const [state, s] of Object.entries(definition.States)) {
    if (s.Retry) intervals[state] = setup.retry
    if (s.Type === 'Wait') waits[state] = setup.wait
    if (s.Type !== 'Task') continue
    const nests = s.Resource === 'arn:aws:states:::states:startExecution.sync:2'
    handlers[state] = nests ? nested : input => answer(s.Resource, input)
  }
  const id = arn.replace(':stateMachine:', ':execution:') + ':' + name
  const running = new StateMachine(definition).run(input, {
    overrides: { taskResourceLocalHandlers: handlers, retryIntervalOverrides: intervals, waitTimeOverrides: waits },
    context: { Execution: { Id: id, Name: name } }
  })
  const logs = (async () => {
    for await (const log of running.eventLogs) if (log.type === 'StateEntered') entered.push(log.state.name)
  })()
  try {
    const output = await running.result
    await logs
    return { status: 'SUCCEEDED', output, entered }
  } catch (error) {
    return { status: 'FAILED', error: error.cause?.name ?? error.name, cause: error.cause?.message ?? error.message, entered }
  }
}

async function nested (input) {
  const end = await execute(input.StateMachineArn, input.Name, input.Input)
  if (end.status === 'SUCCEEDED') return { Status: end.status, Name: input.Name, Input: input.Input, Output: end.output }
  throw named('States.TaskFailed', JSON.stringify({ Error: end.error, Cause: end.cause, Name: input.Name, Status: end.status }))
}

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const message = JSON.parse(line)
  if (!setup) {
    setup = message
    return
  }
  let end
  try {
    end = await execute(message.machine, message.name, message.input)
  } catch (error) {
    end = { status: 'FAILED', error: 'States.Runtime', cause: String(error.stack) }
  }
  process.stdout.write(JSON.stringify({ arn: message.arn, ...end }) + '\n')
})
