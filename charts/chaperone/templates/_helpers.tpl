{{- /* What the templates share. Names are fixed: plugin, operator and grants know them. */ -}}

{{- define "chaperone.labels" -}}
app.kubernetes.io/name: chaperone
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- /* The operator's pods, all of them. */ -}}
{{- define "chaperone.selector" -}}
app.kubernetes.io/name: chaperone
app.kubernetes.io/component: operator
{{- end -}}

{{- define "chaperone.image" -}}
{{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- /* A map as the operator's options take it: cpu=10m,memory=32Mi. */ -}}
{{- define "chaperone.pairs" -}}
{{- $pairs := list -}}
{{- range $name, $amount := . }}{{ $pairs = append $pairs (printf "%s=%v" $name $amount) }}{{ end -}}
{{ join "," $pairs }}
{{- end -}}

{{- /* The root certificates are not here: the operator applies caBundle under a field manager of its own, so that
       no upgrade wipes it. */ -}}
{{- define "chaperone.webhookService" -}}
service: {name: chaperone-webhook, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443}
{{- end -}}

{{- define "chaperone.webhookBehaviour" -}}
admissionReviewVersions: [v1]
failurePolicy: Fail
matchPolicy: Equivalent
sideEffects: None
timeoutSeconds: 5
{{- end -}}

{{- /* Namespaces that carry the label, whatever it says: the webhook refuses what it does not know. */ -}}
{{- define "chaperone.governedNamespaces" -}}
matchExpressions:
- {key: chaperone.dev/injection, operator: Exists}
{{ include "chaperone.notOurs" . }}
{{- end -}}

{{- define "chaperone.otherNamespaces" -}}
matchExpressions:
- {key: chaperone.dev/injection, operator: DoesNotExist}
{{ include "chaperone.notOurs" . }}
{{- end -}}

{{- /* The cluster's own pods and the operator's never wait for the operator. */ -}}
{{- define "chaperone.notOurs" -}}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, {{ .Release.Namespace }}]}
{{- end -}}

{{- /* Whether a pod asks for a sidecar, claims to have one, or asks for a token that only sidecars have. Pods of
       which this is false never meet the webhook. */ -}}
{{- define "chaperone.concernsUs" -}}
{{- $keys := "['chaperone.dev/inject', 'chaperone.dev/injected', 'chaperone.dev/version', 'chaperone.dev/chain', 'chaperone.dev/admitted-labels']" -}}
{{ $keys }}.exists(k, k in {{ . }}.metadata.?labels.orValue({}) || k in {{ . }}.metadata.?annotations.orValue({}))
|| {{ . }}.spec.?volumes.orValue([]).exists(v, v.?projected.?sources.orValue([]).exists(s,
  s.?serviceAccountToken.?audience.orValue('') == 'chaperone.dev'))
{{- end -}}
