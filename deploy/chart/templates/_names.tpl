{{- define "athens.name" -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "athens.labels" -}}
app.kubernetes.io/name: athens-proxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
