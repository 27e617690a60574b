// Asks a simulator of IAM what a role may do. Standard input has roles, each with
// its policy and requests; standard output gets an answer a request.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(process.argv[2] + '/');
const { runSimulation } = require('@cloud-copilot/iam-simulate');
const everything = {
  orgIdentifier: 'o-1',
  policies: [{ name: 'all', policy: { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] } }],
};

const answers = [];
for (const { role, account, policy, resources, requests } of JSON.parse(readFileSync(0))) {
  for (const { action, resource, context } of requests) {
    const r = await runSimulation({
      request: {
        principal: `arn:aws:sts::${account}:assumed-role/${role}/session`, action,
        resource: { resource, accountId: account }, contextVariables: context || {},
      },
      identityPolicies: [{ name: role, policy }], resourcePolicy: resources[resource], serviceControlPolicies: [everything], resourceControlPolicies: [],
    }, {});
    answers.push(r.resultType === 'error' ? { error: JSON.stringify(r.errors) } : {
      result: r.overallResult, ignored: r.resultType === 'single' ? r.result.ignoredContextKeys : [],
    });
  }
}
process.stdout.write(JSON.stringify(answers));
