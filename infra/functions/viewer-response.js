// CloudFront function, viewer response, runtime cloudfront-js-2.0.
//
// Hides what is behind the edge and gives each response the security headers
// that the app did not choose itself. CloudFront does not run it for an
// origin's answer of 400 and above: there the response headers policy, which
// has the same headers, stands alone.

const SECURITY = {
    'strict-transport-security': 'max-age=31536000',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'strict-origin-when-cross-origin',
};

const HIDDEN = ['server', 'x-powered-by', 'x-aspnet-version', 'x-runtime'];

function handler(event) {
    const response = event.response;
    const headers = response.headers;

    const names = Object.keys(headers);
    for (let i = 0; i < names.length; i++) {
        if (HIDDEN.indexOf(names[i]) >= 0 || names[i].indexOf('x-gitopsd-') === 0) {
            delete headers[names[i]];
        }
    }

    const security = Object.keys(SECURITY);
    for (let i = 0; i < security.length; i++) {
        if (!headers[security[i]]) {
            headers[security[i]] = { value: SECURITY[security[i]] };
        }
    }
    // A policy of the app's own says who may frame it.
    if (!headers['x-frame-options'] && !headers['content-security-policy']) {
        headers['x-frame-options'] = { value: 'SAMEORIGIN' };
    }
    return response;
}
