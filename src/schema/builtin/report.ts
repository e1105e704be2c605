/** Collecting complaints: a cursor over one object that knows the path it stands at. */
import {
  type FieldError,
  fieldDuplicate,
  fieldForbidden,
  fieldInvalid,
  fieldNotSupported,
  fieldRequired,
} from '../../kube/index.ts'
import { asMap, asText, fieldPath, type Json, mapsOf, sameJson } from '../json.ts'
import { isUnset } from './set.ts'

/** A map in the object under validation, its path, and where complaints go. */
export class Cursor {
  readonly map: Json
  readonly path: string
  readonly errors: FieldError[]

  constructor(map: Json, path: string, errors: FieldError[]) {
    this.map = map
    this.path = path
    this.errors = errors
  }

  /** The path of a field below. */
  at(name: string): string {
    return name.startsWith('[') ? this.path + name : fieldPath(this.path, name)
  }

  value(name: string): unknown {
    return this.map[name]
  }

  text(name: string): string | undefined {
    return asText(this.map[name])
  }

  number(name: string): number | undefined {
    const value = this.map[name]
    return typeof value === 'number' ? value : undefined
  }

  /** The map at a field; undefined when there is none. */
  child(name: string): Cursor | undefined {
    const map = asMap(this.map[name])
    return map === undefined ? undefined : new Cursor(map, this.at(name), this.errors)
  }

  /** The maps of a list. */
  children(name: string): Cursor[] {
    return mapsOf(this.map[name]).map(
      (map, i) => new Cursor(map, `${this.at(name)}[${i}]`, this.errors),
    )
  }

  isSet(name: string): boolean {
    return !isUnset(this.map[name])
  }

  required(name: string, detail = ''): void {
    this.errors.push(fieldRequired(this.at(name), detail))
  }

  invalid(name: string, detail: string, value: unknown = this.map[name]): void {
    this.errors.push(fieldInvalid(this.at(name), value, detail))
  }

  forbidden(name: string, detail: string): void {
    this.errors.push(fieldForbidden(name === '' ? this.path : this.at(name), detail))
  }

  duplicate(name: string, value: unknown = this.map[name]): void {
    this.errors.push(fieldDuplicate(this.at(name), value))
  }

  notSupported(name: string, supported: readonly unknown[]): void {
    this.errors.push(fieldNotSupported(this.at(name), this.map[name], supported))
  }

  /** Complains when a field that is set has none of these values. */
  oneOf(name: string, supported: readonly string[]): void {
    if (this.isSet(name) && !supported.includes(this.text(name) ?? '')) {
      this.notSupported(name, supported)
    }
  }

  /** Complains when the field is unset; tells whether it was set. */
  need(name: string, detail = ''): boolean {
    if (this.isSet(name)) return true
    this.required(name, detail)
    return false
  }

  /** Runs a name rule over a text field that is set. */
  rule(name: string, validator: (value: string) => string[]): void {
    const value = this.text(name)
    if (value === undefined || value === '') return
    for (const complaint of validator(value)) this.invalid(name, complaint)
  }

  /** Complains about numbers below zero. */
  notNegative(...names: string[]): void {
    for (const name of names) {
      const value = this.number(name)
      if (value !== undefined && value < 0) this.invalid(name, 'must be greater than or equal to 0')
    }
  }

  /** Complains when a field differs from what it was. */
  immutable(old: Json | undefined, ...names: string[]): void {
    for (const name of old === undefined ? [] : names) {
      const before = old?.[name] ?? null
      if (!sameJson(before, this.map[name] ?? null)) this.invalid(name, 'field is immutable')
    }
  }
}
