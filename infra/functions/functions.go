// Package functions holds the CDN functions, as CloudFront runs them
// (cloudfront-js-2.0). The local edge runs the very same bytes.
package functions

import _ "embed"

// ViewerRequest is the source of the viewer-request function. It is associated
// with a key-value store that maps each host to its tenant.
//
//go:embed viewer-request.js
var ViewerRequest string

// ViewerResponse is the source of the viewer-response function.
//
//go:embed viewer-response.js
var ViewerResponse string

// MaxSize is the largest source CloudFront takes, in bytes.
// Source: quotas on CloudFront Functions, "Maximum function size", 10 KB.
const MaxSize = 10_000
