// CloudFront function, viewer request, runtime cloudfront-js-2.0.
//
// Names the tenant a request is for. The host decides, and nothing else: the
// key-value store maps each host to its tenant. Headers by which a viewer could
// pass for us are removed before ours is set.
import cf from 'cloudfront';

const kvs = cf.kvs();

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

// Headers that only we set: the tenant, and everything of ours.
function reserved(name) {
    return name === 'x-tenant' || name.indexOf('x-gitopsd-') === 0;
}

// Lower case, without port and without the root's dot.
function bareHost(value) {
    return value.toLowerCase().replace(/:[0-9]*$/, '').replace(/\.$/, '');
}

async function handler(event) {
    const request = event.request;
    const headers = request.headers;

    if (METHODS.indexOf(request.method) < 0) {
        return {
            statusCode: 405,
            statusDescription: 'Method Not Allowed',
            headers: { allow: { value: METHODS.join(', ') } },
        };
    }

    const names = Object.keys(headers);
    for (let i = 0; i < names.length; i++) {
        if (reserved(names[i])) {
            delete headers[names[i]];
        }
    }

    let tenant;
    try {
        tenant = await kvs.get(bareHost(headers.host.value));
    } catch (err) {
        return { statusCode: 404, statusDescription: 'Not Found' };
    }
    headers['x-tenant'] = { value: tenant };
    return request;
}
